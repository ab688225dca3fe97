//! A server as a process of its own, over TCP: for what only the whole program shows.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use devdb::{EndSignal, Leash};
use meter::resident::{Resident, resident};
use sha2::{Digest as _, Sha256};
use tests::client::Client;
use tests::message::{Request, Response};

use super::content::{BLOCK, Content, Digest};

/// How long a server may take to say where it listens.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server, which ends when this goes, or the whole process.
pub struct Process {
    leash: Leash,
    /// What it says on stderr, without its first lines; bounded: what nobody takes is
    /// dropped.
    pub said: Receiver<String>,
    pub address: SocketAddr,
}

impl Process {
    /// Starts `program`, and waits until it says where it listens.
    pub fn start(
        program: impl AsRef<OsStr>,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let mut leash = Leash::spawn(EndSignal::Terminate, program.as_ref(), |command| {
            command.args(arguments).envs(environment.iter().copied());
            command.stderr(Stdio::piped());
        })?;
        let stderr = BufReader::new(leash.stderr().context("no stderr")?);
        let (tell, said) = sync_channel(10_000);
        // Reads on to the end, so that what it says never blocks the server.
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| drop(tell.try_send(line)));
        });
        let (begin, mut last) = (Instant::now(), String::new());
        while let Some(left) = PATIENCE.checked_sub(begin.elapsed()) {
            let Ok(line) = said.recv_timeout(left) else { break };
            if let Some(address) = tests::target::address(&line) {
                return Ok(Self { leash, said, address });
            }
            last = line;
        }
        anyhow::bail!("the server did not start: {last}")
    }

    /// What it holds of the machine's memory.
    pub fn resident(&self) -> Result<Resident> {
        Ok(resident(self.leash.id())?)
    }

    pub async fn connect(&self) -> Result<Client> {
        Ok(Client::connect(self.address).await?)
    }

    /// Asks for `path` on a connection of its own; the whole answer.
    pub async fn get(&self, path: &str) -> Result<Response> {
        let mut client = self.connect().await?;
        client.request(&Request::get(path)).await?;
        let response = client.response(false).await?;
        ensure!(response.status == 200, "{path}: {} {}", response.status, response.text());
        Ok(response)
    }

    /// Begins an upload of `size` bytes, of which it sends the first `part`.
    pub async fn begin_upload(&self, part: u64, size: u64) -> Result<Client> {
        let mut client = self.connect().await?;
        let head = Request::new("POST", "/v1/files?name=memory");
        client.request(&head.field("content-length", size.to_string())).await?;
        let (mut content, mut offset) = (Content::new(), 0);
        while offset < part {
            client.send(content.block(offset, size)).await?;
            offset += BLOCK as u64;
        }
        Ok(client)
    }

    /// Uploads `size` bytes, and returns the answer.
    pub async fn upload(&self, size: u64) -> Result<Response> {
        let response = self.begin_upload(size, size).await?.response(false).await?;
        let is_stored = matches!(response.status, 200 | 201);
        ensure!(is_stored, "upload: {} {}", response.status, response.text());
        Ok(response)
    }

    /// Downloads `path`, piece by piece: the digest of its `size` bytes.
    pub async fn download(&self, path: &str, size: u64) -> Result<Digest> {
        let mut client = self.connect().await?;
        client.request(&Request::get(path)).await?;
        let head = client.head().await?;
        ensure!(head.status == 200, "download: {}", head.status);
        ensure!(head.field("content-length") == Some(&size.to_string()), "another length");
        let (mut hasher, mut left) = (Sha256::new(), size);
        while left > 0 {
            let piece = client.read(usize::try_from(left.min(BLOCK as u64))?).await?;
            hasher.update(&piece);
            left -= piece.len() as u64;
        }
        Ok(hasher.finalize().into())
    }
}
