//! The cases that a test binary has.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// A case, as `memtest --list` tells it.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    /// Whether it measures the server's binary.
    pub is_tier_c: bool,
}

/// The cases that these arguments select. None where they are wrong: the binary has said why.
pub fn read(binary: &Path, arguments: &[OsString]) -> Result<Option<Vec<Listed>>> {
    let mut command = Command::new(binary);
    command.arg("memtest").args(arguments).arg("--list").stderr(Stdio::inherit());
    let output = command.output().context("the memory tests do not start")?;
    Ok(output.status.success().then(|| parse(&String::from_utf8_lossy(&output.stdout))))
}

/// A line each: name, tier, and what it is about. Before there were tiers, the
/// second word was the first of what it is about.
fn parse(text: &str) -> Vec<Listed> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        Some(Listed { name, is_tier_c: words.next() == Some("C") })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_has_a_name_and_a_tier() {
        let told =
            "upload       A  a body becomes a file\nresident     C  the binary\nold a list\n";
        let cases: Vec<_> =
            parse(told).into_iter().map(|case| (case.name, case.is_tier_c)).collect();
        let expected = [("upload", false), ("resident", true), ("old", false)];
        assert_eq!(cases, expected.map(|(name, tier)| (name.to_owned(), tier)));
    }
}
