//! Which of the arguments are ours, and which the test binary's.

use std::ffi::OsString;

use anyhow::{Result, bail, ensure};

/// The options that xtask itself follows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// `--ref GITREF`: what to compare with.
    pub reference: Option<String>,
    /// `--harness other`: the ref's own.
    pub own_harness: bool,
    /// `--explain CASE`: what to profile.
    pub explain: Option<String>,
    /// All else.
    pub rest: Vec<OsString>,
}

impl Arguments {
    /// Takes ours out of `arguments`; their order does not matter.
    pub fn parse(arguments: Vec<OsString>) -> Result<Arguments> {
        let mut parsed = Arguments::default();
        let mut harness = None;
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let text = argument.to_string_lossy();
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (&*text, None),
            };
            let place = match name {
                "--ref" => &mut parsed.reference,
                "--harness" => &mut harness,
                "--explain" => &mut parsed.explain,
                _ => {
                    parsed.rest.push(argument);
                    continue;
                }
            };
            ensure!(place.is_none(), "{name} is given twice");
            let next = || arguments.next().map(|value| value.to_string_lossy().into_owned());
            match value.or_else(next).filter(|value| !value.is_empty() && !value.starts_with('-')) {
                Some(value) => *place = Some(value),
                None => bail!("{name} takes a value; see --help"),
            }
        }
        parsed.own_harness = match harness.as_deref() {
            None | Some("this") => false,
            Some("other") => true,
            Some(other) => bail!("--harness is this or other, not {other}"),
        };
        ensure!(harness.is_none() || parsed.reference.is_some(), "--harness goes with --ref");
        parsed.check()?;
        Ok(parsed)
    }

    fn check(&self) -> Result<()> {
        let has = |option: &str| {
            self.rest.iter().map(|argument| argument.to_string_lossy()).any(|argument| {
                argument == option
                    || argument.strip_prefix(option).is_some_and(|rest| rest.starts_with('='))
            })
        };
        for option in ["--baseline", "--saved", "--update", "--list"] {
            ensure!(
                self.reference.is_none() || !has(option),
                "--ref does not go with {option}: it measures both sides, and compares them"
            );
        }
        ensure!(
            self.explain.is_none() || (self.reference.is_none() && self.rest.is_empty()),
            "--explain CASE goes with no other option"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        Arguments::parse(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn ours_are_taken_out_wherever_they_stand() {
        let parsed = parse("upload --ref HEAD~1 --format json --harness=other download").unwrap();
        assert_eq!(parsed.reference.as_deref(), Some("HEAD~1"));
        assert!(parsed.own_harness);
        assert_eq!(parsed.rest, ["upload", "--format", "json", "download"]);
        assert_eq!(parse("--explain upload").unwrap().explain.as_deref(), Some("upload"));
        assert_eq!(
            parse("upload").unwrap(),
            Arguments { rest: vec!["upload".into()], ..Arguments::default() }
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "--ref",
            "--ref --format json",
            "--ref a --ref b",
            "--harness other",
            "--ref a --harness mine",
            "--ref a --baseline file",
            "--ref a --update",
            "--ref a --list",
            "--explain upload download",
            "--explain upload --ref a",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
