//! A scratch tree: a copy of the checkout, changes that are not committed included, in
//! which edits are made and unmade.
//!
//! Only what differs is written: cargo goes by the time of the last write, and what
//! it has built of a file that is the same stays good.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::child;

/// A replacement in a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// From the workspace's folder.
    pub file: String,
    /// What is replaced: it must be there once.
    pub old: String,
    /// By what.
    pub new: String,
}

impl Edit {
    /// The file's text with the replacement made.
    pub fn apply(&self, text: &str) -> Result<String> {
        let Edit { file, old, new } = self;
        ensure!(!old.is_empty() && old != new, "{file}: nothing is replaced");
        match text.matches(old.as_str()).count() {
            1 => Ok(text.replacen(old, new, 1)),
            count => bail!("{file} has it {count} times, and must have it once: {old}"),
        }
    }
}

/// The copy, for one run at a time.
pub struct Tree {
    folder: PathBuf,
    _lock: fs::File,
}

/// Edits that are in the tree, until this is dropped.
pub struct Applied {
    /// Files, each with its text as it was.
    files: Vec<(PathBuf, String)>,
}

impl Tree {
    /// Brings the copy in `within` to what the checkout has.
    pub fn copy(within: &Path) -> Result<Tree> {
        let folder = within.join("tree");
        fs::create_dir_all(&folder)?;
        let lock = fs::File::create(within.join("lock"))?;
        ensure!(lock.try_lock().is_ok(), "another run is at work in {}", within.display());
        let root = child::checkout();
        let output = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root)
            .output()
            .context("git does not start")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let names = String::from_utf8(output.stdout).context("a file's name")?;
        let names: BTreeSet<&Path> = names.split_terminator('\0').map(Path::new).collect();
        for name in &names {
            sync(&root.join(name), &folder.join(name))
                .with_context(|| format!("copying {}", name.display()))?;
        }
        remove_others(&folder, &folder, &names)?;
        Ok(Tree { folder, _lock: lock })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes `edits`.
    pub fn apply(&self, edits: &[Edit]) -> Result<Applied> {
        let mut applied = Applied { files: Vec::new() };
        for edit in edits {
            let path = self.folder.join(&edit.file);
            let text = fs::read_to_string(&path).with_context(|| edit.file.clone())?;
            let changed = edit.apply(&text)?;
            fs::write(&path, changed)?;
            applied.files.push((path, text));
        }
        Ok(applied)
    }
}

impl Drop for Applied {
    fn drop(&mut self) {
        // The last edit first: of two in a file, that is the one before it.
        for (path, text) in self.files.iter().rev() {
            // Where it does not work, the next copy does it.
            let _ = fs::write(path, text);
        }
    }
}

fn sync(from: &Path, to: &Path) -> io::Result<()> {
    let content = match fs::read(from) {
        Ok(content) => content,
        // Deleted, and not yet committed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return remove(to),
        Err(error) => return Err(error),
    };
    if fs::read(to).is_ok_and(|copied| copied == content) {
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(to, content)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what the checkout does not have.
fn remove_others(root: &Path, folder: &Path, names: &BTreeSet<&Path>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            remove_others(root, &path, names)?;
        } else if !names.contains(path.strip_prefix(root)?) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_made_and_unmade() {
        let folder = std::env::temp_dir().join(format!("tree-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.rs"), "one two").unwrap();
        fs::write(folder.join("stays.rs"), "").unwrap();
        fs::write(folder.join("goes.rs"), "").unwrap();
        let names = BTreeSet::from(["a.rs", "stays.rs"].map(Path::new));
        remove_others(&folder, &folder, &names).unwrap();
        assert!(folder.join("stays.rs").exists() && !folder.join("goes.rs").exists());

        let lock = fs::File::open(folder.join("a.rs")).unwrap();
        let tree = Tree { folder: folder.clone(), _lock: lock };
        let edit = |old: &str, new: &str| Edit {
            file: "a.rs".to_owned(),
            old: old.to_owned(),
            new: new.to_owned(),
        };
        let text = || fs::read_to_string(folder.join("a.rs")).unwrap();
        let applied = tree.apply(&[edit("one", "1"), edit("two", "2")]).unwrap();
        assert_eq!(text(), "1 2");
        drop(applied);
        assert_eq!(text(), "one two");
        fs::remove_dir_all(folder).unwrap();
    }
}
