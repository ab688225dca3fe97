//! A child process that ends when we end, however we end.
//!
//! A watcher, a small `sh` of our own, reads from a pipe that only we write to. End of file means
//! that we are gone, or want the child gone, and it sends the signal: the kernel closes a pipe on
//! any death, `kill -9` included. `PR_SET_PDEATHSIG` is no substitute: it needs `unsafe`, exists
//! on Linux only, and fires when the *thread* that spawned the child ends.
//!
//! The child is an `sh` too at first, which becomes the program by `exec` when a line tells it
//! that the watcher is in place. So there is no moment without one, and the process id and the
//! exit status are the program's own.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The child. Without the line, because we are gone already, it never becomes the program.
const CHILD: &str = r#"read -r _ && exec "$@" </dev/null"#;

/// The watcher. A line instead of end of file sends it home: the child has ended by itself.
const WATCHER: &str = r#"read -r _ || kill -s "$1" -- "$2""#;

/// How often a wait with a limit looks. Short against every start and stop that it is used for
/// (20 ms and more), long enough to cost nothing.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// The signal that asks a child to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndSignal {
    /// SIGINT: for Postgres a fast shutdown, which rolls back and closes cleanly.
    Interrupt,
    /// SIGTERM: what most programs take as a request to finish.
    Terminate,
    /// SIGTERM to the child and all that it has started: it gets a process group of its own. For
    /// cargo, which leaves compilers and tests running when it is ended alone.
    TerminateGroup,
}

impl EndSignal {
    fn name(self) -> &'static str {
        match self {
            EndSignal::Interrupt => "INT",
            EndSignal::Terminate | EndSignal::TerminateGroup => "TERM",
        }
    }
}

/// A running child that gets its [`EndSignal`] when this value, or the whole process, goes.
///
/// Its stdin is empty. Dropping asks the child to end and waits until it has, without a limit.
#[derive(Debug)]
pub struct Leash {
    child: Child,
    watcher: Child,
    /// The watcher's; `None` when it has been told something.
    pipe: Option<ChildStdin>,
    signal: EndSignal,
}

impl Leash {
    /// Starts `program`; `configure` adds arguments, environment, output, user.
    ///
    /// Should there be no such program, the child ends with status 127.
    ///
    /// # Errors
    /// When `/bin/sh` can't be started, or the user can't be switched to.
    pub fn spawn(
        signal: EndSignal,
        program: impl AsRef<OsStr>,
        configure: impl FnOnce(&mut Command),
    ) -> io::Result<Leash> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", CHILD, "sh"]).arg(program);
        if signal == EndSignal::TerminateGroup {
            command.process_group(0);
        }
        configure(&mut command);
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let start = child.stdin.take();
        let watcher = Command::new("/bin/sh")
            .args(["-c", WATCHER, "sh", signal.name(), &target(signal, &child)])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C goes to the terminal's process group, and must not end the watcher.
            .process_group(0)
            .spawn();
        let mut watcher = match watcher {
            Ok(watcher) => watcher,
            Err(error) => {
                drop(start);
                child.wait()?;
                return Err(error);
            }
        };
        let pipe = watcher.stdin.take();
        let leash = Leash { child, watcher, pipe, signal };
        if let Some(mut start) = start {
            // A child that can't read the line has ended, and its status tells why.
            let _ = start.write_all(b"\n");
        }
        Ok(leash)
    }

    /// The child's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child's stdout, once, when `configure` made it a pipe.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The child's stderr, once, when `configure` made it a pipe.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Asks the child to end, by its signal, and returns at once. Asking again sends it again:
    /// many programs finish less politely then.
    ///
    /// # Errors
    /// When the second signal can't be sent; not when the child has ended already.
    pub fn end(&mut self) -> io::Result<()> {
        match self.pipe.take() {
            Some(pipe) => {
                drop(pipe);
                // So that the signal has been sent before anyone can have waited for the child.
                self.watcher.wait().map(drop)
            }
            None => self.send(self.signal.name()),
        }
    }

    /// Ends the child by SIGKILL. What it has started goes on, unless it is a group.
    ///
    /// # Errors
    /// When the signal can't be sent; not when the child has ended already.
    pub fn kill(&mut self) -> io::Result<()> {
        self.send("KILL")
    }

    /// Sends a signal ourselves. The id is the child's as long as nobody has waited for it.
    fn send(&mut self, signal: &str) -> io::Result<()> {
        if self.child.try_wait()?.is_none() {
            let mut kill = Command::new("/bin/sh");
            kill.args(["-c", "kill -s \"$1\" -- \"$2\"", "sh", signal]);
            kill.arg(target(self.signal, &self.child));
            kill.stderr(Stdio::null()).status()?;
        }
        Ok(())
    }

    /// The exit status, if the child has ended.
    ///
    /// # Errors
    /// When the system can't tell.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        if status.is_some() {
            self.dismiss_watcher();
        }
        Ok(status)
    }

    /// Waits for the child to end by itself, without a limit.
    ///
    /// # Errors
    /// When the system can't tell.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.dismiss_watcher();
        Ok(status)
    }

    /// Waits for the child to end by itself, at most for `limit`; `None` if it has not.
    ///
    /// # Errors
    /// When the system can't tell.
    pub fn wait_for(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            let status = self.try_wait()?;
            if status.is_some() || start.elapsed() >= limit {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
    }

    /// The child is gone, and its id may go to another process: the watcher leaves without sending
    /// anything. One that is gone as well, killed by someone, is fine.
    fn dismiss_watcher(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(b"\n");
            let _ = self.watcher.wait();
        }
    }
}

/// What `kill` takes: an id, or, with a minus, that of a process group.
fn target(signal: EndSignal, child: &Child) -> String {
    match signal {
        EndSignal::Interrupt | EndSignal::Terminate => child.id().to_string(),
        EndSignal::TerminateGroup => format!("-{}", child.id()),
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if self.pipe.is_some() {
            let _ = self.end();
        }
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(5);

    fn sleeper(signal: EndSignal) -> Leash {
        Leash::spawn(signal, "sleep", |command| {
            command.arg("60");
        })
        .unwrap()
    }

    #[test]
    fn the_exit_status_is_the_childs_own() {
        let mut leash = Leash::spawn(EndSignal::Terminate, "sh", |command| {
            command.args(["-c", "exit 7"]);
        })
        .unwrap();
        assert_eq!(leash.wait().unwrap().code(), Some(7));
    }

    #[test]
    fn the_id_is_the_childs_own() {
        let mut leash = Leash::spawn(EndSignal::Terminate, "sh", |command| {
            command.args(["-c", "echo $$"]).stdout(Stdio::piped());
        })
        .unwrap();
        let printed = io::read_to_string(leash.stdout().unwrap()).unwrap();
        assert_eq!(printed.trim(), leash.id().to_string());
    }

    #[test]
    fn the_child_gets_the_signal_that_was_chosen() {
        use std::os::unix::process::ExitStatusExt;
        for (signal, number) in [(EndSignal::Interrupt, 2), (EndSignal::Terminate, 15)] {
            let mut leash = sleeper(signal);
            assert_eq!(leash.try_wait().unwrap(), None);
            leash.end().unwrap();
            let status = leash.wait_for(SHORT).unwrap().expect("ended by the signal");
            assert_eq!(status.signal(), Some(number));
        }
    }

    #[test]
    fn a_group_ends_with_all_that_the_child_has_started() {
        let mut leash = Leash::spawn(EndSignal::TerminateGroup, "sh", |command| {
            command.args(["-c", "sleep 60 & echo $!; wait"]).stdout(Stdio::piped());
        })
        .unwrap();
        let mut output = io::BufReader::new(leash.stdout().unwrap());
        let mut grandchild = String::new();
        io::BufRead::read_line(&mut output, &mut grandchild).unwrap();
        assert!(crate::lock::is_alive(grandchild.trim().parse().unwrap()));
        leash.end().unwrap();
        assert!(leash.wait_for(SHORT).unwrap().is_some());
        // The pipe is at its end when nobody holds it any more.
        assert_eq!(io::read_to_string(output).unwrap(), "");
    }

    #[test]
    fn a_second_request_to_end_is_sent_too() {
        let mut leash = Leash::spawn(EndSignal::Terminate, "sh", |command| {
            let script =
                "trap 'trap - TERM; echo once' TERM; echo up; while :; do sleep 0.02; done";
            command.args(["-c", script]).stdout(Stdio::piped());
        })
        .unwrap();
        let mut lines = io::BufRead::lines(io::BufReader::new(leash.stdout().unwrap()));
        assert_eq!(lines.next().unwrap().unwrap(), "up");
        leash.end().unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "once");
        leash.end().unwrap();
        assert!(leash.wait_for(SHORT).unwrap().is_some());
    }

    #[test]
    fn a_child_that_ends_by_itself_takes_the_watcher_with_it() {
        let mut leash = Leash::spawn(EndSignal::Terminate, "true", |_| {}).unwrap();
        leash.wait().unwrap();
        assert!(!crate::lock::is_alive(leash.watcher.id()));
    }

    #[test]
    fn a_missing_program_is_status_127() {
        let mut leash = Leash::spawn(EndSignal::Terminate, "/no/such/program", |command| {
            command.stderr(Stdio::null());
        })
        .unwrap();
        assert_eq!(leash.wait().unwrap().code(), Some(127));
    }
}
