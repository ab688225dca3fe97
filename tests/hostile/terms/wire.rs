//! A client that takes exactly what it is told to, so that it can stop anywhere.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::net::TcpSocket;

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is read beyond what is asked for, at most, in bytes: the rest of a head.
const AHEAD: usize = 512;

/// The receive buffer of a client that is about to stall, in bytes: the kernel takes
/// little for it then.
const NARROW: u32 = 4 << 10;

/// The most fields that hyper takes in a head, but for those that every request has.
const FIELDS: usize = 90;

/// The largest head that a connection's buffer takes, with something to spare.
const LARGEST_HEAD: usize = 15 << 10;

/// A connection.
pub struct Wire {
    reader: BufReader<TcpStream>,
}

/// The head of an answer.
pub struct Head {
    pub status: u16,
    fields: Vec<(String, String)>,
}

impl Head {
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

impl Wire {
    pub fn open(address: SocketAddr) -> Result<Self> {
        Self::of(TcpStream::connect(address)?)
    }

    /// With a receive buffer that takes next to nothing.
    pub fn narrow(address: SocketAddr) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stream = runtime.block_on(async {
            let socket = TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(NARROW)?;
            socket.connect(address).await?.into_std()
        })?;
        stream.set_nonblocking(false)?;
        Self::of(stream)
    }

    fn of(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::with_capacity(AHEAD, stream) })
    }

    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        Ok(self.reader.get_mut().write_all(bytes.as_ref())?)
    }

    /// Reads the head of an answer, and leaves its body.
    pub fn head(&mut self) -> Result<Head> {
        let status = self.line()?;
        let status = status.get(9..12).and_then(|status| status.parse().ok());
        let status = status.context("no status")?;
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else { break };
            fields.push((name.to_owned(), value.to_owned()));
        }
        Ok(Head { status, fields })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        ensure!(line.ends_with("\r\n"), "the connection ended");
        line.truncate(line.len() - 2);
        Ok(line)
    }

    /// Reads so many bytes.
    pub fn take(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads an answer of a length that it tells.
    pub fn answer(&mut self) -> Result<(Head, String)> {
        let head = self.head()?;
        let length = head.field("content-length").and_then(|length| length.parse().ok());
        let body = self.take(length.unwrap_or(0))?;
        Ok((head, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Sends a request without a body, and reads the answer.
    pub fn get(&mut self, path: &str) -> Result<(Head, String)> {
        self.send(get(path))?;
        self.answer()
    }

    /// Stores so many bytes; returns where.
    pub fn upload(&mut self, size: usize) -> Result<String> {
        self.send(request(
            "POST",
            "/v1/files?name=term",
            &[("content-length", &size.to_string())],
        ))?;
        self.send(vec![b'x'; size])?;
        let (head, body) = self.answer()?;
        ensure!(head.status == 201, "an upload: {} {body}", head.status);
        Ok(head.field("location").context("no location")?.to_owned())
    }

    /// Sends all of these requests, some at a time, and reads the answers. Returns how
    /// many had another status than `expected`.
    pub fn flood(
        &mut self,
        requests: impl IntoIterator<Item = String>,
        expected: u16,
    ) -> Result<usize> {
        const AT_ONCE: usize = 32;
        let mut requests = requests.into_iter().peekable();
        let mut others = 0;
        while requests.peek().is_some() {
            let batch: Vec<_> = requests.by_ref().take(AT_ONCE).collect();
            self.send(batch.concat())?;
            for _ in batch {
                others += usize::from(self.answer()?.0.status != expected);
            }
        }
        Ok(others)
    }
}

/// A request without a body.
pub fn get(path: &str) -> String {
    request("GET", path, &[])
}

/// A request's head.
pub fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in fields {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head + "\r\n"
}

/// The same, as large as a head may be, in as many fields.
pub fn largest(method: &str, path: &str, fields: &[(&str, &str)]) -> String {
    let mut head = request(method, path, fields);
    head.truncate(head.len() - 2);
    let value = "x".repeat((LARGEST_HEAD - head.len()) / FIELDS - "x-field-00: \r\n".len());
    for number in 0..FIELDS {
        let _ = write!(head, "x-field-{number:02}: {value}\r\n");
    }
    head + "\r\n"
}

/// A head of a usual request that has no end.
pub fn unfinished() -> String {
    let head = request("GET", "/livez", &[]);
    let filler = "x".repeat(LARGEST_HEAD - head.len());
    format!("{}x-filler: {filler}", &head[..head.len() - 2])
}

/// A JSON body that can't be compressed much, gzipped, in bytes that a limit lets pass.
pub fn compressed() -> Vec<u8> {
    const LENGTH: u32 = 3000;
    // A linear congruential generator: nothing repeats in it.
    let mut state: u32 = 1;
    let letters = (0..LENGTH).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + state.to_be_bytes()[0] % 26)
    });
    let json = format!("{{\"name\":\"{}\"}}", letters.collect::<String>());
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(json.as_bytes());
    encoder.finish().unwrap()
}

/// The beginning of a form, whose file is so many bytes.
pub fn form(size: usize) -> String {
    let part = "--X\r\ncontent-disposition: form-data; name=\"a\"; filename=\"a\"\r\n\r\n";
    let length = (part.len() + size + "\r\n--X--\r\n".len()).to_string();
    let fields = [("content-type", "multipart/form-data; boundary=X"), ("content-length", &length)];
    request("POST", "/v1/files", &fields) + part
}
