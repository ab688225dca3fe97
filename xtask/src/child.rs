//! Child processes of xtask: they end with us, and we end after them.

use std::cell::Cell;
use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use devdb::{EndSignal, Leash};

/// How soon a child's end is noticed; a signal to us is noticed at once.
const NOTICE: Duration = Duration::from_millis(20);

/// Requests to end (SIGINT, SIGTERM, SIGHUP) that xtask got and does not follow by itself.
pub struct Signals {
    receiver: Receiver<()>,
    came: Cell<bool>,
}

impl Signals {
    /// From now on. Before, they end xtask at once, and what it has started with it.
    pub fn catch() -> Result<Signals> {
        // Three in all are looked at: see `finish`.
        let (sender, receiver) = sync_channel(3);
        ctrlc::set_handler(move || {
            let _ = sender.try_send(());
        })?;
        Ok(Signals { receiver, came: Cell::new(false) })
    }

    /// Whether one came while a child ran, which may have ended by itself just then.
    pub fn came(&self) -> bool {
        self.came.get()
    }
}

/// Waits for the child. A request to us to end goes on to it; so does the second one, and the
/// third kills it.
pub fn finish(child: &mut Leash, signals: &Signals) -> Result<ExitStatus> {
    let mut requests = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if signals.receiver.recv_timeout(NOTICE).is_ok() {
            signals.came.set(true);
            requests += 1;
            match requests {
                1 | 2 => child.end()?,
                _ => child.kill()?,
            }
        }
    }
}

/// The same, up to a limit: then the child is killed, and None is what it ended with.
pub fn finish_within(
    child: &mut Leash,
    signals: &Signals,
    limit: Duration,
) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if signals.receiver.recv_timeout(NOTICE).is_ok() {
            signals.came.set(true);
            child.end()?;
        } else if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
    }
}

/// Starts the cargo that runs xtask, in the workspace's folder, and waits for it. When it is asked
/// to end, so are the compilers and tests that it runs.
pub fn cargo(signals: &Signals, configure: impl FnOnce(&mut Command)) -> Result<ExitStatus> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut child = Leash::spawn(EndSignal::TerminateGroup, cargo, |command| {
        forget_package(command);
        configure(command.current_dir(checkout()));
    })
    .context("cargo does not start")?;
    finish(&mut child, signals)
}

/// Takes from a command what `cargo run` tells xtask about itself (`CARGO_PKG_NAME` and more).
/// ring's build script asks to be rerun when these change: handed on, they would have ring, rustls
/// and sqlx built again, for 20 s, whenever one goes from `cargo xtask …` to `cargo …` or back.
pub fn forget_package(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
}

/// The workspace's folder, as cargo tells it. Not as it was when xtask was compiled: checkouts may
/// share a target directory, and so this program.
pub fn checkout() -> PathBuf {
    let xtask = env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
    let xtask = PathBuf::from(xtask);
    xtask.parent().map_or(xtask.clone(), PathBuf::from)
}

/// Ours, from a child's: a death by signal becomes 128 and the signal, as in a shell.
pub fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// A line for a person, on stderr: stdout is the child's.
pub fn say(line: &str) {
    eprintln!("{line}");
}
