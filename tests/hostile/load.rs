//! The load: blocking clients, each a thread with one buffer.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::content::{BLOCK, block, number};

/// The longest that a client waits for the server, at the disk's pace.
const PATIENCE: Duration = Duration::from_secs(120);

/// A response's head: status and header lines.
pub struct Head {
    pub status: u16,
    text: String,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn length(&self) -> usize {
        self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)
    }
}

pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn read_head(stream: &mut TcpStream) -> io::Result<Head> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.get(9..12).and_then(|status| status.parse().ok());
    Ok(Head { status: status.ok_or(io::ErrorKind::InvalidData)?, text })
}

/// Asks for `path`, and reads a small body.
pub fn get(stream: &mut TcpStream, path: &str) -> io::Result<(Head, String)> {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    small(stream)
}

fn small(stream: &mut TcpStream) -> io::Result<(Head, String)> {
    let head = read_head(stream)?;
    let mut body = vec![0; head.length()];
    stream.read_exact(&mut body)?;
    Ok((head, String::from_utf8_lossy(&body).into_owned()))
}

/// Uploads `blocks` blocks; returns the answer.
pub fn upload(address: SocketAddr, blocks: u64) -> io::Result<(Head, String)> {
    let mut stream = connect(address)?;
    let length = blocks * BLOCK as u64;
    write!(
        stream,
        "POST /v1/files?name=load HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n"
    )?;
    let mut buffer = block();
    for index in 0..blocks {
        number(&mut buffer, index);
        stream.write_all(&buffer)?;
    }
    small(&mut stream)
}

/// Downloads `path`; an error where a byte differs.
pub fn download(address: SocketAddr, path: &str, blocks: u64) -> io::Result<Head> {
    let (head, mut stream) = stall(address, path)?;
    if head.status == 200 {
        compare(&mut stream, 0..blocks)?;
    }
    Ok(head)
}

/// Reads these blocks; an error where a byte differs.
pub fn compare(stream: &mut TcpStream, blocks: Range<u64>) -> io::Result<()> {
    let (mut expected, mut buffer) = (block(), vec![0; BLOCK]);
    for index in blocks {
        number(&mut expected, index);
        stream.read_exact(&mut buffer)?;
        if buffer != expected {
            return Err(io::Error::other(format!("block {index} differs")));
        }
    }
    Ok(())
}

/// Asks for `path`, reads the head, and then nothing. The connection is the
/// caller's, to hold.
pub fn stall(address: SocketAddr, path: &str) -> io::Result<(Head, TcpStream)> {
    begin(address, path, "")
}

/// Asks for these blocks of `path`, and reads the head.
pub fn range(
    address: SocketAddr,
    path: &str,
    blocks: &Range<u64>,
) -> io::Result<(Head, TcpStream)> {
    let (first, end) = (blocks.start * BLOCK as u64, blocks.end * BLOCK as u64);
    begin(address, path, &format!("range: bytes={first}-{}\r\n", end - 1))
}

fn begin(address: SocketAddr, path: &str, fields: &str) -> io::Result<(Head, TcpStream)> {
    let mut stream = connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n")?;
    Ok((read_head(&mut stream)?, stream))
}

/// How long `/livez` takes.
pub fn probe(address: SocketAddr) -> io::Result<Duration> {
    let begin = Instant::now();
    let (head, _) = get(&mut connect(address)?, "/livez")?;
    if head.status == 200 {
        Ok(begin.elapsed())
    } else {
        Err(io::Error::other(format!("status {}", head.status)))
    }
}
