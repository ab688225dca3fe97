//! Secrets from files, as containers are given them: read once, at start.

use std::fmt;
use std::fs::File;
use std::io::Read;

use crate::config::sha256;

/// The largest file of secrets, in bytes: as many digests as there may be tokens
/// fit. A larger one is an error: it is not what was meant.
const LARGEST: usize = 128 << 10;

/// A database's URL. `Debug` leaves it out.
#[derive(Clone)]
pub struct Url(pub String);

/// The SHA-256 of tokens, at least one: a file that was forgotten to be filled
/// must not open the service.
#[derive(Clone, Debug)]
pub struct Digests(pub Vec<[u8; 32]>);

impl fmt::Debug for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Url(..)")
    }
}

/// Reads a URL: the file's only line.
pub(crate) fn url(path: &str) -> Result<Url, String> {
    let text = read(path)?;
    let url = text.trim();
    if url.is_empty() { Err("the file is empty".to_owned()) } else { Ok(Url(url.to_owned())) }
}

/// Reads digests: one a line, or with commas, as in TOKENS_SHA256.
pub(crate) fn digests(path: &str) -> Result<Digests, String> {
    let text = read(path)?;
    let digests = text.split([',', '\n']).map(str::trim).filter(|digest| !digest.is_empty());
    // Which line, and not what it says: it may be the token itself.
    let digests = digests.enumerate().map(|(index, digest)| {
        sha256(digest).map_err(|error| format!("digest {}: {error}", index + 1))
    });
    let digests = digests.collect::<Result<Vec<_>, _>>()?;
    if digests.is_empty() { Err("the file is empty".to_owned()) } else { Ok(Digests(digests)) }
}

fn read(path: &str) -> Result<String, String> {
    let read = || {
        let mut text = String::new();
        File::open(path)?.take(LARGEST as u64 + 1).read_to_string(&mut text)?;
        std::io::Result::Ok(text)
    };
    let text = read().map_err(|error| error.to_string())?;
    if text.len() > LARGEST { Err(format!("more than {LARGEST} bytes")) } else { Ok(text) }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A file that is gone when dropped.
    pub(crate) struct Scratch(PathBuf);

    impl Scratch {
        pub(crate) fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
            let name = format!("server-secret-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::write(&path, content).unwrap();
            Self(path)
        }

        pub(crate) fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_url_is_read_without_its_line_end_and_not_shown() {
        let file = Scratch::new("url", "postgres://app:secret@database/app\n");
        let read = url(file.path()).unwrap();
        assert_eq!(read.0, "postgres://app:secret@database/app");
        assert!(!format!("{read:?}").contains("secret"));
    }

    #[test]
    fn digests_stand_on_lines_or_between_commas() {
        let (one, other) = ("0f".repeat(32), "FF".repeat(32));
        let file = Scratch::new("digests", format!("{one}\r\n\n{other},{one}\n"));
        let read = digests(file.path()).unwrap();
        assert_eq!(read.0, [[0x0f; 32], [0xff; 32], [0x0f; 32]]);
    }

    #[test]
    fn what_is_not_meant_is_refused_and_not_repeated() {
        let empty = Scratch::new("empty", " \n");
        assert_eq!(url(empty.path()).unwrap_err(), "the file is empty");
        assert_eq!(digests(empty.path()).unwrap_err(), "the file is empty");
        let token = Scratch::new("token", format!("{}\nmy-token\n", "0f".repeat(32)));
        assert_eq!(digests(token.path()).unwrap_err(), "digest 2: expected 64 hexadecimal digits");
        assert!(url("/nowhere/at/all").unwrap_err().contains("No such file"));
        let large = Scratch::new("large", "0".repeat(LARGEST + 1));
        assert_eq!(url(large.path()).unwrap_err(), format!("more than {LARGEST} bytes"));
    }
}
