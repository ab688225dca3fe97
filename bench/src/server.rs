//! A server under measurement: its process, where it listens, what it can do.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use devdb::{EndSignal, Leash};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::ground::Ground;
use crate::process::Usage;

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a file is sent to it.
#[derive(Clone, Debug)]
pub enum Upload {
    /// A body that is the file. In the path `{}` is its name.
    Raw { method: &'static str, path: String },
    /// A form with one part, of this name.
    Form { path: String, part: &'static str },
}

/// What it can be asked for. What it can't do is not measured.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    pub upload: Option<Upload>,
    /// Where it takes forms too.
    pub form: Option<Upload>,
    pub large: Option<String>,
    pub part: Option<String>,
    /// Whether it answers with parts of files: Range.
    pub ranges: bool,
    /// Anything small.
    pub small: Option<String>,
    /// A small JSON document.
    pub json: Option<String>,
    /// A hundred of them.
    pub page: Option<String>,
    /// All of them.
    pub export: Option<String>,
}

/// Ends when dropped.
pub struct Server {
    leash: Leash,
    pub address: SocketAddr,
    pub routes: Routes,
}

impl Server {
    /// Starts it, and waits until it listens.
    pub fn start(
        ground: &Ground,
        program: impl AsRef<OsStr>,
        log: &Path,
        routes: Routes,
        configure: impl FnOnce(&mut Command, SocketAddr),
    ) -> Result<Self> {
        // Nobody else on this machine is expected to take it in between.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log_file = std::fs::File::create(log)?;
        let limited = ground.group.as_ref().map(|group| group.command(&program));
        let (first, before) = match &limited {
            Some(command) => (command.get_program(), command.get_args().collect()),
            None => (program.as_ref(), Vec::new()),
        };
        let leash = Leash::spawn(EndSignal::TerminateGroup, first, |command| {
            configure(command.args(before), address);
            command.stdout(Stdio::null()).stderr(log_file);
        })?;
        let mut server = Self { leash, address, routes };
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.leash.try_wait()? {
                bail!("it ended: {status}: {}", last_line(log));
            }
            if begin.elapsed() > PATIENCE {
                bail!("it does not listen: {}", last_line(log));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// What its processes hold and have used.
    pub fn usage(&self) -> Usage {
        Usage::of(self.leash.id())
    }

    /// Ends all of its processes, at once.
    pub fn kill(&self) {
        let group = self.leash.id().try_into().ok().and_then(Pid::from_raw);
        // It may have ended by itself, and is not waited for yet: the id is still its own.
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    }

    /// A `GET`.
    pub fn get(&self, path: &str) -> Vec<u8> {
        self.head("GET", path, "")
    }

    /// The head of a request.
    pub fn head(&self, method: &str, path: &str, fields: &str) -> Vec<u8> {
        let address = self.address;
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n{fields}\r\n").into_bytes()
    }

    /// What goes before and after a file of `length` bytes.
    pub fn upload(&self, name: &str, length: u64) -> Result<(Vec<u8>, Vec<u8>)> {
        Ok(self.around(self.routes.upload.as_ref().context("it takes no uploads")?, name, length))
    }

    /// The same, in a form.
    pub fn form(&self, name: &str, length: u64) -> Result<(Vec<u8>, Vec<u8>)> {
        Ok(self.around(self.routes.form.as_ref().context("it takes no forms")?, name, length))
    }

    fn around(&self, upload: &Upload, name: &str, length: u64) -> (Vec<u8>, Vec<u8>) {
        match upload {
            Upload::Raw { method, path } => {
                let fields = format!("content-length: {length}\r\n");
                (self.head(method, &path.replace("{}", name), &fields), Vec::new())
            }
            Upload::Form { path, part } => {
                let before = format!(
                    "--boundary\r\ncontent-disposition: form-data; name=\"{part}\"; \
                     filename=\"{name}\"\r\ncontent-type: application/octet-stream\r\n\r\n"
                );
                let after = "\r\n--boundary--\r\n";
                let total = length + (before.len() + after.len()) as u64;
                let fields = format!(
                    "content-type: multipart/form-data; boundary=boundary\r\n\
                     content-length: {total}\r\n"
                );
                let mut head = self.head("POST", &path.replace("{}", name), &fields);
                head.extend_from_slice(before.as_bytes());
                (head, after.into())
            }
        }
    }
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").to_owned()
}
