//! A raw HTTP/1.1 client: it sends exact bytes, such as no good client would
//! too, and reads what comes back. Every wait has an end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::message::{Request, Response, chunk_size};

/// The longest wait for anything: a service that hangs fails a test. Longer than
/// the service waits for a database that says nothing.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to the service.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    // What was read and not yet asked for.
    buffer: Vec<u8>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// What the system answers: above all, that nobody listens.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Connects with a receive buffer of `bytes`: what the kernel takes in for
    /// a client that does not read is little then.
    ///
    /// # Errors
    /// What the system answers.
    pub async fn connect_narrow(address: SocketAddr, bytes: u32) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(bytes)?;
        let stream = timeout(PATIENCE, socket.connect(address)).await??;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection is broken, or nobody takes them.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await?
    }

    /// Sends a request whole.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn request(&mut self, request: &Request) -> io::Result<()> {
        let bytes = request.bytes(self.stream.peer_addr()?);
        self.send(bytes).await
    }

    /// Sends a request, and reads the answer even while still sending: it may
    /// come before the body has gone.
    ///
    /// # Errors
    /// The connection broke before the answer was whole.
    pub async fn exchange(&mut self, request: &Request) -> io::Result<Response> {
        let bytes = request.bytes(self.stream.peer_addr()?);
        let (mut reader, mut writer) = self.stream.split();
        let answer = response(&mut reader, &mut self.buffer, request.method() == "HEAD");
        tokio::pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            // Where sending fails, the answer may have come all the same.
            _ = writer.write_all(&bytes) => answer.await,
        }
    }

    /// Reads one response; `to_head`: the answer to a HEAD has no body.
    ///
    /// # Errors
    /// The connection broke off before the response was whole.
    pub async fn response(&mut self, to_head: bool) -> io::Result<Response> {
        response(&mut self.stream, &mut self.buffer, to_head).await
    }

    /// Reads the head of a response, and leaves its body.
    ///
    /// # Errors
    /// The connection broke off in the head.
    pub async fn head(&mut self) -> io::Result<Response> {
        head(&mut self.stream, &mut self.buffer).await
    }

    /// Reads exactly `count` bytes.
    ///
    /// # Errors
    /// The connection broke off before.
    pub async fn read(&mut self, count: usize) -> io::Result<Vec<u8>> {
        take(&mut self.stream, &mut self.buffer, count).await
    }

    /// Reads until the service closes, and returns what came.
    ///
    /// # Errors
    /// It reset the connection, or did not close in time.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        while fill(&mut self.stream, &mut self.buffer).await? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Reads until the connection ends, be it by a reset, and returns what came.
    ///
    /// # Errors
    /// It did not end in time.
    pub async fn end(&mut self) -> io::Result<Vec<u8>> {
        match self.rest().await {
            Err(error) if error.kind() != io::ErrorKind::TimedOut => {
                Ok(std::mem::take(&mut self.buffer))
            }
            other => other,
        }
    }

    /// Says that nothing more will be sent; answers can still be read.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Leaves by a reset (RST), as a process that crashed would.
    ///
    /// # Errors
    /// What the system answers.
    pub fn reset(self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }
}

async fn fill(reader: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<usize> {
    timeout(PATIENCE, reader.read_buf(buffer)).await?
}

async fn more(reader: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<()> {
    if fill(reader, buffer).await? == 0 {
        let got = String::from_utf8_lossy(&buffer[..buffer.len().min(300)]);
        let text = format!("the connection ended after {} bytes: {got:?}", buffer.len());
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
    }
    Ok(())
}

async fn take(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    count: usize,
) -> io::Result<Vec<u8>> {
    while buffer.len() < count {
        more(reader, buffer).await?;
    }
    Ok(buffer.drain(..count).collect())
}

async fn line(reader: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    until(reader, buffer, b"\r\n").await
}

async fn until(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    mark: &[u8],
) -> io::Result<Vec<u8>> {
    loop {
        if let Some(at) = buffer.windows(mark.len()).position(|window| window == mark) {
            return take(reader, buffer, at + mark.len()).await;
        }
        more(reader, buffer).await?;
    }
}

async fn head(reader: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<Response> {
    Response::parse(&until(reader, buffer, b"\r\n\r\n").await?)
}

async fn response(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    to_head: bool,
) -> io::Result<Response> {
    let mut response = head(reader, buffer).await?;
    if to_head || matches!(response.status, 100..=199 | 204 | 304) {
        return Ok(response);
    }
    if response.field("transfer-encoding").is_some() {
        loop {
            let size = chunk_size(&line(reader, buffer).await?)?;
            response.body.extend(take(reader, buffer, size).await?);
            line(reader, buffer).await?;
            if size == 0 {
                return Ok(response);
            }
        }
    }
    let length = response.length()?;
    response.body = take(reader, buffer, length).await?;
    Ok(response)
}
