//! Running the programs: `initdb` once, `postgres` until it takes connections.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::leash::POLL;
use crate::search::Programs;
use crate::{EndSignal, Error, Leash, Purpose, lock};

/// How long a start may take. It is the replay after a crash that takes time: at most 256 MB of
/// log, seconds even on a slow disk.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The superuser that `initdb` makes; whoever reaches the socket is trusted to be it, and only
/// we reach it: the directory and the socket are mode 0700.
pub(crate) const USER: &str = "app";

/// For every cluster. No TCP, small buffers, connections enough for a parallel test run, and no
/// replication, so that little is logged.
const SETTINGS: [&str; 10] = [
    "listen_addresses=",
    "port=5432",
    "unix_socket_permissions=0700",
    "shared_buffers=16MB",
    "max_connections=200",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=256MB",
    "min_wal_size=32MB",
    "log_min_messages=warning",
];

/// For tests: a crash of the *machine* may lose or break the data, and nobody minds.
const TEST_SETTINGS: [&str; 3] = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];

/// What both programs are run with.
pub(crate) struct Run<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) programs: &'a Programs,
    pub(crate) account: Option<&'a Account>,
    pub(crate) log: &'a File,
}

impl Run<'_> {
    /// Makes the data under another name, so that a half-made one is never started.
    pub(crate) fn initdb(&self) -> Result<(), Error> {
        let new = self.dir.join("data.new");
        if new.exists() {
            fs::remove_dir_all(&new).map_err(Error::io(format!("Deleting {}", new.display())))?;
        }
        let mut initdb = self.start("initdb", |command| {
            command.arg("-D").arg(&new).args(["-U", USER]);
            // No sync of the fresh files: a machine that crashes now loses nothing.
            command.args(["-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]);
        })?;
        let status = initdb.wait().map_err(Error::io("Waiting for initdb"))?;
        if !status.success() {
            return Err(self.did_not_start("initdb"));
        }
        fs::rename(&new, self.dir.join("data")).map_err(Error::io("Renaming data.new to data"))
    }

    /// Returns when connections are taken.
    pub(crate) fn postgres(&self, purpose: Purpose, sockets: &Path) -> Result<Leash, Error> {
        let data = self.dir.join("data");
        let pid_file = data.join("postmaster.pid");
        // One that was left by a killed Postgres says "ready" too.
        let before = fs::read_to_string(&pid_file).unwrap_or_default();
        let extra: &[&str] = match purpose {
            Purpose::Dev => &[],
            Purpose::Test => &TEST_SETTINGS,
        };
        let mut postgres = self.start("postgres", |command| {
            command.arg("-D").arg(&data).arg("-k").arg(sockets);
            for setting in SETTINGS.iter().chain(extra) {
                command.args(["-c", setting]);
            }
        })?;
        let start = Instant::now();
        loop {
            let now = fs::read_to_string(&pid_file).unwrap_or_default();
            if now != before && says_ready(&now) {
                return Ok(postgres);
            }
            let ended = postgres.try_wait().map_err(Error::io("Waiting for Postgres"))?.is_some();
            if ended || start.elapsed() > START_LIMIT {
                return Err(self.did_not_start("postgres"));
            }
            thread::sleep(POLL);
        }
    }

    fn start(
        &self,
        program: &'static str,
        configure: impl FnOnce(&mut Command),
    ) -> Result<Leash, Error> {
        let what = format!("Starting {program}");
        let (out, err) = (self.log.try_clone(), self.log.try_clone());
        let (out, err) = (out.map_err(Error::io(&*what))?, err.map_err(Error::io(&*what))?);
        Leash::spawn(EndSignal::Interrupt, self.programs.dir.join(program), |command| {
            configure(command);
            // PGDATA, PGPORT and the like would be taken for settings. LC_ALL: macOS's Postgres
            // does not start without a locale.
            command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
            // Ctrl-C goes to the terminal's process group; the service must end before us.
            command.process_group(0).current_dir(self.dir).stdout(out).stderr(err);
            Account::apply(self.account, command);
        })
        .map_err(Account::explain(self.account, &what))
    }

    fn did_not_start(&self, program: &'static str) -> Error {
        let log = lock::log_path(self.dir);
        let log_end = tail(&log).unwrap_or_else(|error| format!("(no log: {error})"));
        Error::DidNotStart { program, log_end, log }
    }
}

/// The major version that made the data, if there is data.
pub(crate) fn data_version(dir: &Path) -> Option<u32> {
    fs::read_to_string(dir.join("data/PG_VERSION")).ok()?.trim().parse().ok()
}

/// Whether a `postmaster.pid` tells that connections are taken: its line 8 does.
fn says_ready(pid_file: &str) -> bool {
    pid_file.lines().nth(7).is_some_and(|status| status.trim() == "ready")
}

/// The last lines of a log: at most 10, at most 2 KiB.
fn tail(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(2048)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let end = String::from_utf8_lossy(&end);
    let lines: Vec<&str> = end.trim_end().lines().collect();
    Ok(lines[lines.len().saturating_sub(10)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_8_of_the_pid_file_tells_when_it_is_ready() {
        let starting = "71\n/d/data\n1763885000\n5432\n/d\n\n  65  3\nstarting\n";
        assert!(!says_ready(starting));
        assert!(says_ready(&starting.replace("starting", "ready   ")));
        assert!(!says_ready("71\n/d/data\n1763885000\n5432\n/d\n\nready\n"));
        assert!(!says_ready(""));
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_ten_lines() {
        let log = std::env::temp_dir().join(format!("devdb-tail-{}", std::process::id()));
        let lines: Vec<String> = (0..1000).map(|n| format!("line {n}")).collect();
        fs::write(&log, lines.join("\n")).unwrap();
        let end = tail(&log).unwrap();
        fs::remove_file(&log).unwrap();
        assert_eq!(end, lines[990..].join("\n"));
    }
}
