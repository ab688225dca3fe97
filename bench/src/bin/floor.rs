//! The floors: what the machine can do where nothing is asked but bytes. A thread
//! a connection, which blocks.
//!
//! `floor MODE ADDRESS FOLDER`:
//! - `copy`: reads and writes, 256 KiB at a time.
//! - `hash`: the same, and a SHA-256 of what comes in, in line.
//! - `sync`: and a sync before the answer.
//! - `sendfile`: what goes out is sent by the kernel (Linux).
//!
//! `floor pipe ADDRESS PROGRAM ARGUMENT…`: what the program says, whatever is asked.
#![expect(clippy::unwrap_used, reason = "a peer, never part of the product")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};

/// Both ways, in bytes.
const BUFFER: usize = 256 * 1024;

/// The longest head, in bytes.
const HEAD: usize = 16 * 1024;

#[derive(Clone, PartialEq)]
enum Mode {
    Copy,
    Hash,
    Sync,
    Sendfile,
    Pipe(Vec<String>),
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let [mode, address, folder] = [(); 3].map(|()| arguments.next().unwrap());
    let mode = match mode.as_str() {
        "pipe" => Mode::Pipe(arguments.collect()),
        "copy" => Mode::Copy,
        "hash" => Mode::Hash,
        "sync" => Mode::Sync,
        "sendfile" => Mode::Sendfile,
        _ => panic!("no mode is named {mode}"),
    };
    let folder = PathBuf::from(folder);
    let listener = TcpListener::bind(address).unwrap();
    for stream in listener.incoming() {
        let (stream, folder, mode) = (stream.unwrap(), folder.clone(), mode.clone());
        std::thread::Builder::new()
            .stack_size(64 * 1024)
            // A client that leaves ends its own connection only.
            .spawn(move || drop(serve(stream, &mode, &folder)))
            .unwrap();
    }
}

fn serve(mut stream: TcpStream, mode: &Mode, folder: &Path) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    loop {
        let end = loop {
            if let Some(end) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let read = stream.read(&mut buffer[filled..HEAD])?;
            if read == 0 {
                return Ok(());
            }
            filled += read;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
        let name = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
        let path = folder.join(name);
        let body = end..filled;
        filled = 0;
        if let Mode::Pipe(arguments) = mode {
            pipe(&mut stream, folder, arguments, &mut buffer)?;
            continue;
        }
        if head.starts_with("get ") {
            download(&mut stream, mode, &path, &mut buffer)?;
            continue;
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
        upload(&mut stream, mode, &path, &mut buffer, body, length)?;
    }
}

fn upload(
    stream: &mut TcpStream,
    mode: &Mode,
    path: &Path,
    buffer: &mut [u8],
    body: std::ops::Range<usize>,
    length: u64,
) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut hasher = Sha256::new();
    let mut put = |bytes: &[u8]| {
        if matches!(mode, Mode::Hash | Mode::Sync) {
            hasher.update(bytes);
        }
        file.write_all(bytes)
    };
    let mut left = length.saturating_sub(body.len() as u64);
    put(&buffer[body])?;
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = stream.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        put(&buffer[..read])?;
        left -= read as u64;
    }
    if *mode == Mode::Sync {
        file.sync_all()?;
    }
    stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n")
}

fn download(stream: &mut TcpStream, mode: &Mode, path: &Path, buffer: &mut [u8]) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut left = file.metadata()?.len();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {left}\r\n\r\n")?;
    if *mode == Mode::Sendfile {
        // The standard library's copy takes sendfile from a file to a socket.
        return io::copy(&mut file, stream).map(drop);
    }
    while left > 0 {
        let read = file.read(buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stream.write_all(&buffer[..read])?;
        left -= read as u64;
    }
    Ok(())
}

/// Chunked, since nobody knows how much it will be.
fn pipe(
    stream: &mut TcpStream,
    program: &Path,
    arguments: &[String],
    buffer: &mut [u8],
) -> io::Result<()> {
    let mut child = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn()?;
    let mut said = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    write!(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
    loop {
        let read = said.read(buffer)?;
        write!(stream, "{read:x}\r\n")?;
        stream.write_all(&buffer[..read])?;
        stream.write_all(b"\r\n")?;
        if read == 0 {
            return child.wait().map(drop);
        }
    }
}
