//! One Postgres at a time in a directory, told by a lock on its log.
//!
//! The log is Postgres's stdout and stderr, so every process of Postgres holds the lock, and it
//! lasts as long as the last of them. A lock of the parent's alone would be free again while
//! Postgres still closes its files.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Purpose};

/// How long a start waits for the directory. Postgres left by a killed parent needs 20 ms here;
/// with a checkpoint to write on a slow disk it needs seconds.
const PATIENCE: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(50);

/// The log's first words; the holder's process id follows.
const STARTED_BY: &str = "started by process ";

/// The log of the cluster in `dir`, which is also its lock.
pub(crate) fn log_path(dir: &Path) -> PathBuf {
    dir.join("postgres.log")
}

/// Locks `dir`, empties its log and returns it; the lock is held by it and by its copies.
///
/// A second `dev` is a mistake, so it is told at once; a second `test` waits for the first.
pub(crate) fn take(
    dir: &Path,
    purpose: Purpose,
    progress: &mut dyn FnMut(&str),
) -> Result<File, Error> {
    let path = log_path(dir);
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .map_err(Error::io(format!("Opening {}", path.display())))?;
    let start = Instant::now();
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => {
                return Err(Error::io(format!("Locking {}", path.display()))(error));
            }
            Err(TryLockError::WouldBlock) => {}
        }
        let holder = holder(&path);
        let at_work = holder.is_some_and(is_alive);
        if (at_work && purpose == Purpose::Dev) || start.elapsed() >= PATIENCE {
            return Err(Error::Running { dir: dir.to_owned(), holder });
        }
        if let (true, false, Some(id)) = (at_work, told, holder) {
            progress(&format!("Waiting up to 10 s for process {id}, which uses {}", dir.display()));
            told = true;
        }
        thread::sleep(PAUSE);
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{STARTED_BY}{}", std::process::id()))
        .map_err(Error::io(format!("Writing {}", path.display())))?;
    Ok(file)
}

/// The process that started the Postgres of this log.
fn holder(log: &Path) -> Option<u32> {
    parse(&fs::read_to_string(log).ok()?)
}

fn parse(log: &str) -> Option<u32> {
    log.lines().next()?.strip_prefix(STARTED_BY)?.parse().ok()
}

/// Whether a process runs. One that has ended and waits to be reaped does not: in a container,
/// process 1 may take its time over that, or never do it.
pub(crate) fn is_alive(id: u32) -> bool {
    let exists = Command::new("/bin/sh")
        .args(["-c", "kill -0 \"$1\"", "sh", &id.to_string()])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    // Linux only; elsewhere there is no such file, and init reaps.
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    exists && !is_zombie(&stat)
}

/// From `/proc/<id>/stat`: `id (name) state …`; the name may hold anything, parentheses too.
fn is_zombie(stat: &str) -> bool {
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_read_from_the_first_line() {
        assert_eq!(parse("started by process 12\nLOG: ready\n"), Some(12));
        assert_eq!(parse(""), None);
        assert_eq!(parse("LOG: started by process 12\n"), None);
    }

    #[test]
    fn an_ended_process_is_not_alive() {
        assert!(is_alive(std::process::id()));
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(!is_alive(child.id()));
        assert!(is_zombie("12 (a) S (b)) Z 1 12"));
        assert!(!is_zombie("12 (Z) S 1 12"));
    }
}
