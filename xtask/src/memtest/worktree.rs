//! A commit checked out beside this one, for as long as it is looked at.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::child;

/// A worktree in the target folder, gone when this is dropped.
pub struct Worktree {
    /// Its root.
    pub root: PathBuf,
    /// cargo's, beside it. It stays: dependencies need not be compiled again.
    pub target: PathBuf,
    /// One at a time; the system frees it, however we end.
    _lock: File,
}

impl Worktree {
    /// Checks `commit` out below `target`, always at the same place, so that cargo
    /// knows again what it has compiled there.
    pub fn add(target: &Path, commit: &str) -> Result<Worktree> {
        let folder = target.join("memtest");
        fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        let lock = File::create(folder.join("lock"))?;
        if lock.try_lock().is_err() {
            bail!("another comparison is running in {}", folder.display());
        }
        let root = folder.join("tree");
        let worktree = Worktree { target: folder.join("target"), root, _lock: lock };
        worktree.remove(); // what a killed run has left
        let root = worktree.root.as_os_str();
        git()
            .args(["worktree", "add", "--quiet", "--force", "--detach"])
            .arg(root)
            .arg(commit)
            .run()?;
        Ok(worktree)
    }

    fn remove(&self) {
        // Best effort, and in this order: git refuses what is no worktree, and
        // forgets what is no longer there.
        let remove =
            git().args(["worktree", "remove", "--force", "--force"]).arg(&self.root).output();
        if !remove.is_ok_and(|output| output.status.success()) {
            let _ = fs::remove_dir_all(&self.root);
        }
        let _ = git().args(["worktree", "prune"]).output();
    }
}

impl Drop for Worktree {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The commit that a ref names; None where there is none.
///
/// # Errors
/// Where there is no git, or this is no checkout of it.
pub fn commit(reference: &str) -> Result<Option<String>> {
    let mut command = git();
    command.args(["rev-parse", "--verify", "--quiet", "--end-of-options"]);
    let output = command.arg(format!("{reference}^{{commit}}")).output();
    let output = output.context("--ref takes git, which does not start")?;
    let commit = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match output.status.code() {
        Some(0) if !commit.is_empty() => Ok(Some(commit)),
        // Which says nothing with --quiet.
        Some(1) => Ok(None),
        _ => bail!("--ref: git: {}", String::from_utf8_lossy(&output.stderr).trim()),
    }
}

/// git on this checkout. In a process group of its own: Ctrl-C is for us, who clean
/// up with it.
fn git() -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("git");
    command.current_dir(child::checkout()).process_group(0);
    command
}

trait Run {
    fn run(&mut self) -> Result<()>;
}

impl Run for Command {
    fn run(&mut self) -> Result<()> {
        let output = self.output().context("git does not start")?;
        if !output.status.success() {
            bail!("git: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}
