//! mutants.toml: the bounds, each with the change that removes it and the tests
//! that must notice.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::claim::Claim;
use crate::tree::Edit;

/// The file's name, in the workspace's folder.
const FILE: &str = "mutants.toml";

/// Every mutant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutant: Vec<Mutant>,
}

/// A bound, and the change that removes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// What it is called on the command line.
    pub name: String,
    /// The bound, in words.
    pub bound: String,
    /// What the change does, in words.
    pub change: String,
    /// The tests that must fail, all of them.
    pub caught_by: Vec<Claim>,
    /// A test that does not end is a test that has failed: without the bound,
    /// something is waited for without end.
    #[serde(default)]
    pub hangs: bool,
    /// The change itself.
    pub edit: Vec<Edit>,
}

/// Reads the file in the workspace `root`.
pub fn read(root: &Path) -> Result<Vec<Mutant>> {
    let text = fs::read_to_string(root.join(FILE)).context(FILE)?;
    let List { mutant: mutants } = toml::from_str(&text).context(FILE)?;
    Ok(mutants)
}

/// Fails where the file has fallen behind the code: a replacement that is not there
/// any more, or a test.
pub fn check(root: &Path) -> Result<()> {
    let mutants = read(root)?;
    let mut faults = Vec::new();
    for (index, mutant) in mutants.iter().enumerate() {
        let found = faults_of(mutant, root).into_iter();
        faults.extend(found.map(|fault| format!("{FILE}: {}: {fault}", mutant.name)));
        if mutants[..index].iter().any(|other| other.name == mutant.name) {
            faults.push(format!("{FILE}: {}: there are two of this name", mutant.name));
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    println!("{} mutants fit the code", mutants.len());
    Ok(())
}

fn faults_of(mutant: &Mutant, root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    if mutant.caught_by.is_empty() || mutant.edit.is_empty() {
        faults.push("it has no test, or no edit".to_owned());
    }
    for edit in &mutant.edit {
        let text = fs::read_to_string(root.join(&edit.file)).with_context(|| edit.file.clone());
        if let Err(error) = text.and_then(|text| edit.apply(&text)) {
            faults.push(format!("{error:#}"));
        }
    }
    let missing = mutant.caught_by.iter().filter_map(|claim| claim.check(root).err());
    faults.extend(missing.map(|error| format!("{error:#}")));
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child;

    fn mutant(old: &str, test: &str) -> Mutant {
        let text = format!(
            "[[mutant]]\nname = 'a'\nbound = 'b'\nchange = 'c'\ncaught_by = ['{test}']\n\
             [[mutant.edit]]\nfile = 'crates/streaming/src/paid.rs'\nold = '{old}'\nnew = ''\n"
        );
        toml::from_str::<List>(&text).unwrap().mutant.remove(0)
    }

    #[test]
    fn what_has_left_the_code_is_told() {
        let root = child::checkout();
        let faults = |old, test| faults_of(&mutant(old, test), &root);
        let test = "streaming store a_guard_is_held_as_long_as_the_last_chunk";
        assert_eq!(faults("struct Paid<G> {", test), Vec::<String>::new());
        assert!(faults("use std::rc::Rc;", test)[0].contains("0 times"));
        assert!(faults("self", test)[0].contains("2 times"));
        let gone = faults("struct Paid<G> {", "streaming store a_test_that_is_gone");
        assert!(gone[0].contains("a_test_that_is_gone"), "{gone:?}");
    }

    #[test]
    fn the_list_fits_the_code() {
        check(&child::checkout()).unwrap();
    }
}
