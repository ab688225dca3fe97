//! The load client: one connection, on a thread of its own, with one buffer. It
//! blocks, and so costs the machine as little as a client can.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// A client's buffer, in bytes.
const BUFFER: usize = 256 * 1024;

/// The longest head of a response, in bytes.
const HEAD: usize = 16 * 1024;

/// The longest wait for anything: a peer that hangs is a finding, and not the end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What was read and not yet asked for.
    start: usize,
    end: usize,
}

/// The head of a response.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub status: u16,
    /// What it says, with names in lower case.
    pub fields: String,
    length: Option<u64>,
    chunked: bool,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).context("connecting")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: vec![0; BUFFER], start: 0, end: 0 })
    }

    /// With a buffer that only heads fit into: for clients by the thousand.
    pub fn small(address: SocketAddr) -> Result<Self> {
        let mut client = Self::connect(address)?;
        client.buffer = vec![0; HEAD];
        Ok(client)
    }

    /// Whether the server has not closed it.
    pub fn is_open(&self) -> bool {
        let peeked = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut [0]));
        let _ = self.stream.set_nonblocking(false);
        match peeked {
            Ok(bytes) => bytes > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("sending")
    }

    /// Sends `length` bytes of `pattern`, over and over.
    pub fn send_body(&mut self, pattern: &[u8], mut length: u64) -> Result<()> {
        while length > 0 {
            let part = pattern.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            self.send(&pattern[..part])?;
            length -= part as u64;
        }
        Ok(())
    }

    /// A `GET` with its whole answer; returns how many bytes its body had.
    pub fn get(&mut self, request: &[u8]) -> Result<u64> {
        self.send(request)?;
        let head = self.head()?;
        ensure!(matches!(head.status, 200 | 206), "answered {}", head.status);
        self.body(&head, |_| ())
    }

    /// Reads a head, and leaves the body.
    pub fn head(&mut self) -> Result<Head> {
        loop {
            let read = &self.buffer[self.start..self.end];
            if let Some(length) = find(read, b"\r\n\r\n") {
                let head = Head::parse(&read[..length])?;
                self.start += length + 4;
                // A provisional one (100 Continue) is not the answer.
                if head.status >= 200 {
                    return Ok(head);
                }
                continue;
            }
            ensure!(read.len() < HEAD, "a head without an end");
            ensure!(self.fill()? > 0, "closed in the head of an answer");
        }
    }

    /// Reads a body to its end; returns its length.
    pub fn body(&mut self, head: &Head, mut each: impl FnMut(&[u8])) -> Result<u64> {
        if !head.chunked {
            let length = head.length.context("a body without a length")?;
            self.take(length, &mut each)?;
            return Ok(length);
        }
        let mut total = 0;
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).context("a chunk's size")?;
            self.take(size, &mut each)?;
            self.line()?;
            if size == 0 {
                return Ok(total);
            }
            total += size;
        }
    }

    /// Reads `length` bytes of a body, and stops there.
    pub fn take(&mut self, mut length: u64, mut each: impl FnMut(&[u8])) -> Result<()> {
        while length > 0 {
            if self.start == self.end {
                ensure!(self.fill()? > 0, "closed with {length} bytes to come");
            }
            let left = usize::try_from(length).unwrap_or(usize::MAX);
            let part = left.min(self.end - self.start);
            each(&self.buffer[self.start..self.start + part]);
            self.start += part;
            length -= part as u64;
        }
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        loop {
            let read = &self.buffer[self.start..self.end];
            if let Some(length) = find(read, b"\r\n") {
                let line = String::from_utf8_lossy(&read[..length]).into_owned();
                self.start += length + 2;
                return Ok(line);
            }
            ensure!(read.len() < HEAD, "a line without an end");
            ensure!(self.fill()? > 0, "closed in a line");
        }
    }

    /// Reads more behind what there is.
    fn fill(&mut self) -> Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        loop {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(read) => {
                    self.end += read;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => bail!("receiving: {error}"),
            }
        }
    }
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).context("a head that is no text")?;
        let (line, fields) = text.split_once("\r\n").unwrap_or((text, ""));
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut head = Self {
            status: status.with_context(|| format!("no status: {line}"))?,
            fields: fields.to_ascii_lowercase(),
            ..Self::default()
        };
        head.length = head.field("content-length").and_then(|length| length.parse().ok());
        head.chunked = head.field("transfer-encoding") == Some("chunked");
        if matches!(head.status, 100..200 | 204 | 304) {
            head.length = Some(0);
        }
        Ok(head)
    }

    /// The value of a field, in lower case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.split("\r\n").find_map(|line| {
            let (field, value) = line.split_once(':')?;
            (field == name).then(|| value.trim())
        })
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A client whose server sends `answer`, in parts of `part` bytes.
    fn client(answer: &'static [u8], part: usize) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            for part in answer.chunks(part) {
                stream.write_all(part).unwrap();
            }
        });
        Client::connect(address).unwrap()
    }

    #[test]
    fn a_connection_that_the_server_has_closed_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = Client::connect(listener.local_addr().unwrap()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        assert!(client.is_open());
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        assert_eq!(client.head().unwrap().status, 204);
        drop(stream);
        while client.stream.peek(&mut [0]).unwrap() > 0 {}
        assert!(!client.is_open());
    }

    #[test]
    fn an_answer_is_read_however_it_comes() {
        let answers: [&[u8]; 2] = [
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\n\r\n",
        ];
        for answer in answers {
            for part in [1, 7, 1000] {
                let mut client = client(answer, part);
                let head = client.head().unwrap();
                let mut body = Vec::new();
                assert_eq!(client.body(&head, |bytes| body.extend_from_slice(bytes)).unwrap(), 5);
                assert_eq!(body, b"hello");
            }
        }
    }

    #[test]
    fn an_answer_that_breaks_off_is_an_error() {
        let mut client = client(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel", 100);
        let head = client.head().unwrap();
        assert!(client.body(&head, |_| ()).is_err());
    }
}
