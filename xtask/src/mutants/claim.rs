//! Which test must notice, as mutants.toml has it: `memory upload peak_slope`,
//! `http upload::name`, `faults log::name`, `hostile name`, or a crate's own:
//! `streaming store name`, `handler lib client::tests::name`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

/// The targets of the package `tests` whose tests are named like any other's.
const SUITES: [&str; 3] = ["http", "faults", "hostile"];

/// A test, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub enum Claim {
    /// A memory case; with a metric, that metric's budget and nothing else.
    Memory { case: String, metric: Option<String> },
    /// A test of a test binary.
    Test { suite: Suite, name: String },
}

/// A test binary.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Suite {
    pub package: String,
    /// `lib`, or the target's name.
    pub target: String,
}

impl TryFrom<String> for Claim {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        match <[String; 3]>::try_from(words) {
            Ok([memory, case, metric]) if memory == "memory" => {
                Ok(Claim::Memory { case, metric: Some(metric) })
            }
            Ok([package, target, name]) => {
                Ok(Claim::Test { suite: Suite { package, target }, name })
            }
            Err(words) => match <[String; 2]>::try_from(words) {
                Ok([memory, case]) if memory == "memory" => {
                    Ok(Claim::Memory { case, metric: None })
                }
                Ok([target, name]) if SUITES.contains(&target.as_str()) => {
                    Ok(Claim::Test { suite: Suite { package: "tests".into(), target }, name })
                }
                _ => Err(anyhow!("{text:?} names no test")),
            },
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Claim::Memory { case, metric: None } => write!(f, "memory {case}"),
            Claim::Memory { case, metric: Some(metric) } => write!(f, "memory {case} {metric}"),
            Claim::Test { suite: Suite { package, target }, name } if package == "tests" => {
                write!(f, "{target} {name}")
            }
            Claim::Test { suite: Suite { package, target }, name } => {
                write!(f, "{package} {target} {name}")
            }
        }
    }
}

impl Claim {
    /// Fails where the code has no such test.
    pub fn check(&self, root: &Path) -> Result<()> {
        match self {
            Claim::Memory { case, metric } => {
                let text = fs::read_to_string(root.join("budgets.toml")).context("budgets.toml")?;
                let budgets: BTreeMap<String, BTreeMap<String, toml::Value>> =
                    toml::from_str(&text).context("budgets.toml")?;
                let metrics = budgets.get(case);
                let is_there = metrics.is_some_and(|metrics| match metric {
                    Some(metric) => metric != "twin" && metrics.contains_key(metric),
                    None => true,
                });
                ensure!(is_there, "budgets.toml has no {self}");
            }
            Claim::Test { suite, name } => {
                let (modules, test) = name.rsplit_once("::").unwrap_or(("", name));
                let is_there = suite.files(root, modules).iter().any(|file| {
                    let text = fs::read_to_string(file).unwrap_or_default();
                    // libtest-mimic's are named by a text.
                    text.contains(&format!("fn {test}(")) || text.contains(&format!("\"{test}\""))
                });
                ensure!(is_there, "there is no test {self}");
            }
        }
        Ok(())
    }
}

impl Suite {
    /// Where a test in `modules` may stand.
    fn files(&self, root: &Path, modules: &str) -> Vec<PathBuf> {
        let Suite { package, target } = self;
        let folder = match (package.as_str(), target.as_str()) {
            ("tests", target) => root.join("tests").join(target),
            (package, "lib") => root.join("crates").join(package).join("src"),
            (package, target) => {
                return vec![root.join(format!("crates/{package}/tests/{target}.rs"))];
            }
        };
        // Its own file, or one that it stands in as a module.
        let mut path = folder;
        let mut files = vec![path.join("lib.rs"), path.join("main.rs")];
        for module in modules.split("::").filter(|module| !module.is_empty()) {
            path.push(module);
            files.push(path.with_extension("rs"));
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child;

    fn claim(text: &str) -> Result<Claim> {
        text.to_owned().try_into()
    }

    #[test]
    fn a_claim_is_written_as_it_is_read() {
        for text in [
            "memory upload",
            "memory upload peak_slope",
            "http upload::what_goes_up_comes_down_the_same",
            "hostile planned_load_stays_under_the_load_line",
            "streaming store any_range_is_that_range",
            "handler lib client::tests::a_host_is_its_network",
        ] {
            assert_eq!(claim(text).unwrap().to_string(), text);
        }
        for text in ["upload", "unit upload", "", "a b c d"] {
            assert!(claim(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_test_that_is_there_is_found_and_no_other() {
        let root = child::checkout();
        for (text, is_there) in [
            ("memory upload peak_slope", true),
            ("memory upload twin", false),
            ("memory upload peak_slop", false),
            ("memory nothing", false),
            ("http upload::what_goes_up_comes_down_the_same", true),
            ("http download::what_goes_up_comes_down_the_same", false),
            ("faults log::a_log_that_nobody_reads_stops_nothing", true),
            ("hostile planned_load_stays_under_the_load_line", true),
            ("server connection forced_shutdown_ends_requests", true),
            ("streaming lib quota::tests::a_file_that_fits_does_so_with_its_overhead", true),
            ("streaming lib quota::tests::a_file_that", false),
        ] {
            assert_eq!(claim(text).unwrap().check(&root).is_ok(), is_there, "{text}");
        }
    }
}
