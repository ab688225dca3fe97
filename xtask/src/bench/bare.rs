//! Ours without what no peer does: a build that does not sync what it receives, and one
//! that does not hash it either. No setting does that: content that is told to be there
//! is on the disk, and its digest is what it is known by. So it is cut out of a copy.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::binary::{self, Built, Other, Profile};
use crate::check::metadata;
use crate::child::{Signals, say};
use crate::tree::{Edit, Tree};

/// By what the bench finds each, and what is replaced in it beside what was before, by what.
const CUTS: [(&str, &str, &str); 2] = [
    ("SERVER_UNSYNCED", "staged.file()?.sync_all()?;", ""),
    ("SERVER_BARE", "hasher.update(buffer.bytes());", "let _ = &mut hasher;"),
];

/// What writes an upload.
const FILE: &str = "crates/streaming/src/upload/parts.rs";

fn edits(cuts: &[(&str, &str, &str)]) -> Vec<Edit> {
    let edit = |(_, old, new): &(&str, &str, &str)| Edit {
        file: FILE.to_owned(),
        old: (*old).to_owned(),
        new: (*new).to_owned(),
    };
    cuts.iter().map(edit).collect()
}

/// Builds both; returns each binary with the variable that names it.
pub fn build(signals: &Signals) -> Result<Vec<(&'static str, PathBuf)>> {
    // Inside of the target folder, which every tool passes over.
    let folder = metadata::read()?.target_directory.join("bare");
    let tree = Tree::copy(&folder)?;
    let other = Other { root: tree.folder(), target: &folder.join("target") };
    let mut binaries = Vec::new();
    for (index, (variable, ..)) in CUTS.iter().enumerate() {
        say(&format!("{variable}: built in {}", folder.display()));
        let _applied = tree.apply(&edits(&CUTS[..=index]))?;
        let Built::Binary(binary) = binary::server_of(signals, Profile::Release, Some(other))?
        else {
            bail!("{variable} could not be built");
        };
        // The next one takes its place.
        let kept = folder.join(variable);
        fs::copy(binary, &kept)?;
        binaries.push((*variable, kept));
    }
    Ok(binaries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child;

    #[test]
    fn the_cuts_fit_the_code() {
        let text = fs::read_to_string(child::checkout().join(FILE)).unwrap();
        edits(&CUTS).iter().fold(text, |text, edit| edit.apply(&text).unwrap());
    }
}
