//! An HTTP/1.1 client that allocates when it is made and never again, so that
//! whatever is allocated meanwhile is the server's.

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::content::{BLOCK, Content, Digest};
use super::pipe::End;

/// One connection, seen from the client.
pub struct Client {
    io: End,
    content: Content,
    // What was read and not yet looked at: buffer[start..end].
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Client {
    pub fn new(io: End) -> Self {
        Self { io, content: Content::new(), buffer: vec![0; BLOCK].into(), start: 0, end: 0 }
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.io.write_all(bytes).await.context("sending")
    }

    /// Sends the first `part` bytes of a content of `size` bytes.
    pub async fn send_content(&mut self, part: u64, size: u64) -> Result<()> {
        let mut offset = 0;
        while offset < part {
            let block = self.content.block(offset, size.min(part));
            self.io.write_all(block).await.context("sending content")?;
            offset += block.len() as u64;
        }
        Ok(())
    }

    /// Waits until a response has begun, and reads nothing of it.
    pub async fn answered(&self) {
        self.io.readable().await;
    }

    /// Reads a response's head, which must have this status, and returns its
    /// Content-Length, in bytes.
    pub async fn head(&mut self, status: &str) -> Result<u64> {
        self.any_head(status).await?.context("the response has no Content-Length")
    }

    /// The same for a response whose body may be chunked: None.
    pub async fn any_head(&mut self, status: &str) -> Result<Option<u64>> {
        let length = self.read_head(status).await?;
        let head = str::from_utf8(&self.buffer[self.start..self.start + length])?;
        let length_of = |line: &str| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        };
        let body = head.lines().find_map(length_of);
        self.start += length;
        Ok(body)
    }

    /// Reads a response's head, which must have this status, and returns it. It
    /// allocates: for after a measurement.
    pub async fn fields(&mut self, status: &str) -> Result<String> {
        let length = self.read_head(status).await?;
        let head = str::from_utf8(&self.buffer[self.start..self.start + length])?.to_owned();
        self.start += length;
        Ok(head)
    }

    /// Waits for a response's head, checks its status, and returns its length.
    async fn read_head(&mut self, status: &str) -> Result<usize> {
        // On a connection that is kept alive, heads come one after the other.
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let length = loop {
            let read = &self.buffer[self.start..self.end];
            if let Some(length) = read.windows(4).position(|end| end == b"\r\n\r\n") {
                break length + 4;
            }
            ensure!(self.end < BLOCK, "the response's head is larger than {BLOCK} bytes");
            let count =
                self.io.read(&mut self.buffer[self.end..]).await.context("reading the head")?;
            ensure!(count > 0, "the connection was closed before the response's head");
            self.end += count;
        };
        let head = str::from_utf8(&self.buffer[self.start..self.start + length])?;
        let first = head.lines().next().unwrap_or_default();
        if first.split(' ').nth(1) != Some(status) {
            let head = head.trim_end().replace("\r\n", " | ");
            bail!("{first:?} where {status} was expected; the whole head: {head}");
        }
        Ok(length)
    }

    /// Reads `count` bytes of a body into `hasher`.
    pub async fn body(&mut self, mut count: u64, hasher: &mut Sha256) -> Result<()> {
        while count > 0 {
            if self.start == self.end {
                let most = usize::try_from(count).unwrap_or(BLOCK).min(BLOCK);
                self.end =
                    self.io.read(&mut self.buffer[..most]).await.context("reading a body")?;
                self.start = 0;
                ensure!(
                    self.end > 0,
                    "the connection was closed {count} bytes before the body's end"
                );
            }
            let here = &self.buffer[self.start..self.end];
            let here = &here[..here.len().min(usize::try_from(count).unwrap_or(here.len()))];
            hasher.update(here);
            self.start += here.len();
            count -= here.len() as u64;
        }
        Ok(())
    }

    /// Reads as many bytes of a body as `out` has.
    pub async fn body_into(&mut self, mut out: &mut [u8]) -> Result<()> {
        while !out.is_empty() {
            if self.start == self.end {
                self.fill().await?;
            }
            let count = out.len().min(self.end - self.start);
            let (now, later) = out.split_at_mut(count);
            now.copy_from_slice(&self.buffer[self.start..self.start + count]);
            self.start += count;
            out = later;
        }
        Ok(())
    }

    /// Reads the beginning of a chunk of a chunked body, and returns its size, in
    /// bytes: 0 at the body's end. Then comes `body`, then `chunk_end`.
    pub async fn chunk_begin(&mut self) -> Result<u64> {
        let mut size = 0;
        loop {
            match self.byte().await? {
                b'\r' => {}
                b'\n' => return Ok(size),
                digit => {
                    let digit = char::from(digit).to_digit(16).context("no chunk's size")?;
                    size = size * 16 + u64::from(digit);
                }
            }
        }
    }

    /// Reads the end of a chunk.
    pub async fn chunk_end(&mut self) -> Result<()> {
        let end = [self.byte().await?, self.byte().await?];
        ensure!(end == *b"\r\n", "a chunk does not end where it says");
        Ok(())
    }

    /// Reads what is left of a chunked body into `hasher`.
    pub async fn chunks(&mut self, hasher: &mut Sha256) -> Result<()> {
        loop {
            let size = self.chunk_begin().await?;
            self.body(size, hasher).await?;
            self.chunk_end().await?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    async fn byte(&mut self) -> Result<u8> {
        if self.start == self.end {
            self.fill().await?;
        }
        self.start += 1;
        Ok(self.buffer[self.start - 1])
    }

    async fn fill(&mut self) -> Result<()> {
        self.end = self.io.read(&mut self.buffer).await.context("reading a body")?;
        self.start = 0;
        ensure!(self.end > 0, "the connection was closed within a body");
        Ok(())
    }

    /// Reads a whole body of `count` bytes, and returns its digest.
    pub async fn whole_body(&mut self, count: u64) -> Result<Digest> {
        let mut hasher = Sha256::new();
        self.body(count, &mut hasher).await?;
        Ok(hasher.finalize().into())
    }
}
