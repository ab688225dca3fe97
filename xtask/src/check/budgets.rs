//! budgets.toml as it is now against an earlier commit's: what became looser says why.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use meter::{Budgets, loosened};

use crate::child;

const FILE: &str = "budgets.toml";

/// What to compare with.
#[derive(Debug, PartialEq, Eq)]
enum Base {
    Commit(String),
    /// Why there is nothing.
    None(&'static str),
}

/// Fails where a budget is looser than in the base, without a new reason beside it.
///
/// The base is the commit at which a branch left `origin/main`; on `main` itself, and
/// where there is no such ref, the commit before this one. Changes that are not
/// committed are looked at as well. Without history there is nothing to compare with:
/// then it says so, and passes.
pub fn check() -> Result<()> {
    let checkout = child::checkout();
    let commit = match base(&checkout) {
        Base::Commit(commit) => commit,
        Base::None(why) => {
            println!("budgets.toml is compared with nothing: {why}");
            return Ok(());
        }
    };
    let short = &commit[..commit.len().min(10)];
    let Some(before) = git(&checkout, &["show", &format!("{commit}:{FILE}")]) else {
        println!("there is no budgets.toml in {short} yet");
        return Ok(());
    };
    let now = fs::read_to_string(checkout.join(FILE)).context(FILE)?;
    let now = Budgets::parse(&now).context(FILE)?;
    let Ok(before) = Budgets::parse(&before) else {
        println!("budgets.toml of {short} is of another shape, and can't be compared with");
        return Ok(());
    };
    let lines = loosened(&before, &now);
    if !lines.is_empty() {
        bail!("budgets are looser than in {short}:\n{}", lines.join("\n"));
    }
    println!("no budget is looser than in {short} without a reason");
    Ok(())
}

fn base(checkout: &Path) -> Base {
    let Some(head) = git(checkout, &["rev-parse", "--verify", "--quiet", "HEAD"]) else {
        return Base::None("this is no git checkout");
    };
    let fork = git(checkout, &["merge-base", "HEAD", "origin/main"]);
    if let Some(fork) = fork.filter(|fork| *fork != head) {
        return Base::Commit(fork);
    }
    match git(checkout, &["rev-parse", "--verify", "--quiet", "HEAD~1^{commit}"]) {
        Some(parent) => Base::Commit(parent),
        None => Base::None("this commit has no parent here (a shallow clone has none)"),
    }
}

/// What git says; None where it says that there is no such thing, or there is no git.
fn git(checkout: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).current_dir(checkout).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(folder: &Path, arguments: &[&str]) -> String {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"];
        git(folder, &[identity.as_slice(), arguments].concat()).unwrap()
    }

    #[test]
    fn the_base_is_the_fork_on_a_branch_the_parent_on_main_and_nothing_without_history() {
        let folder = std::env::temp_dir().join(format!("base-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(base(&folder), Base::None("this is no git checkout"));
        run(&folder, &["init", "--quiet", "--initial-branch", "main"]);
        let commit = |message| {
            run(&folder, &["commit", "--quiet", "--allow-empty", "--message", message]);
            run(&folder, &["rev-parse", "HEAD"])
        };
        let first = commit("one");
        assert!(matches!(base(&folder), Base::None(_)), "the first has no parent");
        let second = commit("two");
        assert_eq!(base(&folder), Base::Commit(first.clone()), "no origin");
        run(&folder, &["update-ref", "refs/remotes/origin/main", &second]);
        assert_eq!(base(&folder), Base::Commit(first), "on main itself");
        commit("three");
        commit("four");
        assert_eq!(base(&folder), Base::Commit(second), "where the branch left main");
        fs::remove_dir_all(&folder).unwrap();
    }
}
