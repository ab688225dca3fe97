//! A real memory limit: a control group, version 1 or 2, whichever the host has.
//!
//! It takes root, Linux, and a host that lets us make one; where it doesn't,
//! [`Group::create`] says so, and the caller judges by other means.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A limit of sockets above anything that is measured, in bytes: it is there so that
/// they are counted.
const SOCKETS: u64 = 1 << 30;

/// A group that is removed when dropped; its processes must have ended.
#[derive(Debug)]
pub struct Group {
    folder: PathBuf,
    version: u8,
}

impl Group {
    /// A group with a limit of `bytes`, and no swap.
    ///
    /// # Errors
    /// The host lets us make none: not root, no memory controller.
    pub fn create(bytes: u64) -> io::Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Relaxed);
        let name = format!("plimsoll-{}-{number}", std::process::id());
        let version = Self::version_here();
        let (root, limit) = match version {
            1 => (Path::new("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
            _ => (Path::new("/sys/fs/cgroup"), "memory.max"),
        };
        sweep(root);
        let folder = root.join(name);
        fs::create_dir(&folder)?;
        let group = Self { folder, version };
        fs::write(group.folder.join(limit), bytes.to_string())?;
        // Swapping would hide what is over the limit.
        let swap = if version == 1 { "memory.swappiness" } else { "memory.swap.max" };
        let _ = fs::write(group.folder.join(swap), "0");
        if version == 1 {
            // Version 1 counts sockets apart, and only once they have a limit of their own.
            fs::write(group.folder.join("memory.kmem.tcp.limit_in_bytes"), SOCKETS.to_string())?;
        }
        Ok(group)
    }

    /// Which version of control groups the host has for memory.
    #[must_use]
    pub fn version_here() -> u8 {
        if Path::new("/sys/fs/cgroup/memory/tasks").exists() { 1 } else { 2 }
    }

    /// Which version of control groups it is.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.version
    }

    /// `program` as a process of the group, from its first instruction on.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("sh");
        let procs = self.folder.join("cgroup.procs");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(procs).arg(program.as_ref());
        command
    }

    /// What its processes hold, page cache left out, in bytes.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn anonymous(&self) -> io::Result<u64> {
        let key = if self.version == 1 { "rss" } else { "anon" };
        self.value("memory.stat", key)
    }

    /// What its sockets hold in the kernel, in bytes: part of what version 2
    /// charges; version 1 counts it beside the limit.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn sockets(&self) -> io::Result<u64> {
        match self.version {
            1 => self.number("memory.kmem.tcp.usage_in_bytes"),
            _ => self.value("memory.stat", "sock"),
        }
    }

    /// How many of its processes were killed for memory.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn killed(&self) -> io::Result<u64> {
        let file = if self.version == 1 { "memory.oom_control" } else { "memory.events" };
        self.value(file, "oom_kill")
    }

    fn number(&self, file: &str) -> io::Result<u64> {
        let text = fs::read_to_string(self.folder.join(file))?;
        text.trim().parse().map_err(io::Error::other)
    }

    fn value(&self, file: &str, key: &str) -> io::Result<u64> {
        let text = fs::read_to_string(self.folder.join(file))?;
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        let value = line.ok_or_else(|| io::Error::other(format!("no {key} in {file}")))?;
        value.trim().parse().map_err(io::Error::other)
    }
}

/// Removes what processes that were killed have left; what is in use can't be removed.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let parts = name.to_str().and_then(|name| name.strip_prefix("plimsoll-")?.split_once('-'));
        if parts.is_some_and(|(id, _)| !Path::new("/proc").join(id).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel needs a moment to see that the last process is gone.
        let begin = Instant::now();
        while fs::remove_dir(&self.folder).is_err() && begin.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_killed_have_left_is_removed_and_nothing_else() {
        let root = std::env::temp_dir().join(format!("groups-{}", std::process::id()));
        let (own, others) = (format!("plimsoll-{}-0", std::process::id()), "plimsoll-x".to_owned());
        // No process has an id above 2^22 (proc(5), pid_max).
        for name in [&own, &others, "plimsoll-4194305-0", "4194305-0"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        sweep(&root);
        let left = |name: &str| root.join(name).exists();
        assert!(left(&own) && left(&others) && left("4194305-0"));
        assert!(!left("plimsoll-4194305-0"));
        fs::remove_dir_all(root).unwrap();
    }
}
