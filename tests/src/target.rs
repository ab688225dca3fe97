//! The server as a process: started, asked what it holds, signalled, ended.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use meter::{Resident, resident};

/// How long a server may take to say where it listens.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lines of its log that are shown where a test has failed.
const LAST: usize = 20;

/// A running server. Killed when dropped; where a test has failed, with the
/// warnings and errors of its log.
#[derive(Debug)]
pub struct Target {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    unread: Arc<AtomicBool>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where its probes are answered too; of a server that has such a place.
    pub admin: Option<SocketAddr>,
}

/// A log that nobody reads. It is read on when this is dropped.
#[derive(Debug)]
pub struct Unread(Arc<AtomicBool>);

impl Drop for Unread {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The release binary that `cargo xtask test` built.
///
/// # Panics
/// Without `SERVER_BIN`.
#[must_use]
pub fn server_binary() -> PathBuf {
    let path = std::env::var_os("SERVER_BIN");
    PathBuf::from(path.unwrap_or_else(|| panic!("SERVER_BIN is not set: run `cargo xtask test`")))
}

impl Target {
    /// Starts it, and waits until it says where it listens.
    ///
    /// # Panics
    /// Where it does not.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (said, listening) = sync_channel(1);
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = log.clone();
        let unread = Arc::<AtomicBool>::default();
        let waits = unread.clone();
        // Reads on to the end, so that the log never blocks the server, but where a test
        // wants it to.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                while waits.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                match address(&line) {
                    Some(address) => {
                        let _ = said.try_send((address, admin(&line)));
                    }
                    None if line.contains("\"INFO\"") => {}
                    None => kept.lock().unwrap().push(line),
                }
            }
        });
        match listening.recv_timeout(PATIENCE) {
            Ok((address, admin)) => Self { child, log, unread, address, admin },
            Err(_) => {
                let ended = child.kill().and(child.wait());
                panic!("the server did not start: {ended:?} {:#?}", log.lock().unwrap());
            }
        }
    }

    /// Warnings and errors that it has logged.
    ///
    /// # Panics
    /// Where the thread that reads them has.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Nobody reads its log until what this returns is dropped.
    #[must_use]
    pub fn leave_log_unread(&self) -> Unread {
        self.unread.store(true, Ordering::Relaxed);
        Unread(self.unread.clone())
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it holds of the machine's memory.
    ///
    /// # Panics
    /// Where it has ended.
    #[must_use]
    pub fn resident(&self) -> Resident {
        resident(self.child.id()).unwrap()
    }

    /// What the kernel holds for its sockets, in bytes, as `ss` tells: received
    /// and not read, written and not acknowledged, set aside. None without `ss`.
    #[must_use]
    pub fn sockets(&self) -> Option<u64> {
        let filter = format!("sport = :{}", self.address.port());
        let output = Command::new("ss").args(["-Htnm", &filter]).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let fields = text.split(['(', ')', ',', '\n']);
        let held = fields.filter_map(|field| {
            let number = field.strip_prefix(['r', 'w', 'f'])?;
            number.parse::<u64>().ok()
        });
        Some(held.sum())
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// Where the system can't tell.
    pub fn alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a signal, by its name: `TERM`, `KILL`.
    ///
    /// # Panics
    /// Where it can't be sent.
    pub fn signal(&self, name: &str) {
        let arguments = ["-s", name, &self.child.id().to_string()];
        assert!(Command::new("kill").args(arguments).status().unwrap().success());
    }

    /// SIGTERM, and how it ended.
    ///
    /// # Panics
    /// Where it does not end in 60 s.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended(2 * PATIENCE).expect("it ends")
    }

    /// `kill -9`: it has no time to do anything.
    ///
    /// # Panics
    /// Where the system can't.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// Where the system can't tell.
    pub fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let begin = Instant::now();
        while begin.elapsed() < patience {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            eprintln!("the end of the server's log: {:#?}", &log[log.len().saturating_sub(LAST)..]);
        }
    }
}

/// The address in the line that tells it.
#[must_use]
pub fn address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on http://")?;
    rest.split(['"', ' ']).next()?.parse().ok()
}

/// That of the admin listener, in the same line.
fn admin(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("\"admin\":\"")?;
    rest.split('"').next()?.parse().ok()
}
