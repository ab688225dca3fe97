//! `--ref`: the same cases in the tree of another commit.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use devdb::{EndSignal, Leash};

use super::list::{self, Listed};
use super::overlay;
use super::session::Environment;
use super::worktree::Worktree;
use crate::binary::{self, Built, Other, Profile};
use crate::check::metadata;
use crate::child::{self, Signals, say};

/// What to do where this tree's harness can't be used there.
const NOT_BUILT: &str = "\
does not build with this tree's memory tests; cargo has said why. Most often a case here uses \
what is not there yet. Either compare each side by its own tests, where they share cases \
(--harness other), or compare with a commit after that change";

/// A commit's memory tests, built. The worktree goes when this is dropped.
pub struct Reference {
    name: String,
    worktree: Worktree,
    binary: PathBuf,
    server: Option<PathBuf>,
}

impl Reference {
    /// Builds the memory tests of `commit`, called `name`, with the harness of this
    /// checkout in it, or with its own.
    pub fn build(signals: &Signals, name: &str, commit: &str, own_harness: bool) -> Result<Self> {
        say(&format!(
            "{name} is {}: checking it out, and building it",
            &commit[..commit.len().min(10)]
        ));
        let worktree = Worktree::add(&metadata::read()?.target_directory, commit)?;
        if !own_harness {
            overlay::lay(&child::checkout(), &worktree.root)?;
        }
        let binary = match binary::memory_tests_of(signals, Some(other(&worktree)))? {
            Built::Binary(binary) => binary,
            Built::Failed(_) if signals.came() => bail!("ended before {name} was built"),
            Built::Failed(_) if own_harness => bail!("{name} does not build; cargo has said why"),
            Built::Failed(_) => bail!("{name} {NOT_BUILT}"),
        };
        Ok(Self { name: name.to_owned(), worktree, binary, server: None })
    }

    /// Builds its server too: cases of tier C measure that.
    pub fn build_server(&mut self, signals: &Signals) -> Result<()> {
        let other = Some(other(&self.worktree));
        let Built::Binary(server) = binary::server_of(signals, Profile::Release, other)? else {
            bail!("the server of {} does not build", self.name);
        };
        self.server = Some(server);
        Ok(())
    }

    /// Of the cases selected here, those that are there too; the others are told.
    pub fn shared(&self, selected: &[Listed]) -> Result<Vec<String>> {
        let there = list::read(&self.binary, &[])?;
        let there = there.with_context(|| format!("{} does not list its cases", self.name))?;
        let is_there = |case: &&Listed| there.iter().any(|other| other.name == case.name);
        let (shared, only_here): (Vec<_>, Vec<_>) = selected.iter().partition(is_there);
        let names = |cases: Vec<&Listed>| -> Vec<String> {
            cases.into_iter().map(|case| case.name.clone()).collect()
        };
        let only_here = names(only_here);
        if !only_here.is_empty() {
            say(&format!("not in {}, and left out: {}", self.name, only_here.join(", ")));
        }
        Ok(names(shared))
    }

    /// Measures these cases there. Returns the file that the run is saved in.
    pub fn measure(
        &self,
        signals: &Signals,
        cases: &[String],
        environment: &Environment,
    ) -> Result<PathBuf> {
        say(&format!("{}:", self.name));
        let file = self.worktree.root.with_file_name("before.json");
        let output = fs::File::create(&file).with_context(|| format!("{}", file.display()))?;
        let mut child = Leash::spawn(EndSignal::Terminate, &self.binary, |command| {
            command.args(["memtest", "--format", "json"]).args(cases);
            command.envs(environment.iter().cloned()).stdout(Stdio::from(output));
            if let Some(server) = &self.server {
                command.env("SERVER_BIN", server);
            }
        })
        .context("the memory tests do not start")?;
        let status = child::finish(&mut child, signals)?;
        ensure!(!signals.came(), "ended while {} was measured", self.name);
        // That a budget of today is broken there is no error; that there are no figures is.
        let written = fs::read_to_string(&file)?;
        ensure!(
            serde_json::from_str::<serde_json::Value>(&written).is_ok(),
            "{} could not be measured: {status}",
            self.name
        );
        Ok(file)
    }

    /// What our own run gets beside its arguments, to tell before and now.
    pub fn arguments(&self, before: &Path, cases: &[String]) -> Vec<OsString> {
        vec![
            format!("--only={}", cases.join(",")).into(),
            "--baseline".into(),
            before.into(),
            format!("--baseline-name={}", self.name).into(),
        ]
    }
}

fn other(worktree: &Worktree) -> Other<'_> {
    Other { root: &worktree.root, target: &worktree.target }
}
