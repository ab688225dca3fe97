//! The server under load: a process, what it holds, and how it ends.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to say where it listens.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. Killed when dropped.
pub struct Target {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The release binary that `cargo xtask test` built.
pub fn server_binary() -> PathBuf {
    let path = std::env::var_os("SERVER_BIN");
    PathBuf::from(path.expect("SERVER_BIN is not set: run `cargo xtask test`"))
}

impl Target {
    /// Starts it, and waits until it says where it listens.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (said, listening) = std::sync::mpsc::sync_channel(1);
        // Reads on to the end, so that the log never blocks the server.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                match line.split_once("listening on http://") {
                    Some((_, rest)) => {
                        let address = rest.split(['"', ' ']).next().unwrap_or(rest);
                        let _ = said.try_send(address.parse::<SocketAddr>().unwrap());
                    }
                    None if line.contains("\"INFO\"") => {}
                    None => eprintln!("server: {line}"),
                }
            }
        });
        match listening.recv_timeout(PATIENCE) {
            Ok(address) => Self { child, address },
            Err(_) => panic!("the server did not start: {:?}", child.kill().and(child.wait())),
        }
    }

    /// A field of /proc/PID/status that is given in kB, in bytes: `VmRSS`,
    /// `VmHWM`, `RssAnon`.
    pub fn status(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    /// What the kernel holds for its sockets, in bytes, as `ss` tells: received
    /// and not read, written and not acknowledged, set aside. None without `ss`.
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
    pub fn alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGTERM, and how it ended.
    pub fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        self.child.wait().unwrap()
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let begin = Instant::now();
        while begin.elapsed() < patience {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
