//! Requests as they are sent, and responses as they came, byte for byte.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;

/// A request: what is not set is not sent, but for Host.
#[derive(Clone, Debug)]
pub struct Request {
    method: &'static str,
    target: String,
    fields: Vec<u8>,
    has_host: bool,
    body: Vec<u8>,
}

impl Request {
    /// Any method, on any target.
    pub fn new(method: &'static str, target: impl Into<String>) -> Self {
        let target = target.into();
        Self { method, target, fields: Vec::new(), has_host: false, body: Vec::new() }
    }

    /// A GET.
    pub fn get(target: impl Into<String>) -> Self {
        Self::new("GET", target)
    }

    /// A HEAD.
    pub fn head(target: impl Into<String>) -> Self {
        Self::new("HEAD", target)
    }

    /// A DELETE.
    pub fn delete(target: impl Into<String>) -> Self {
        Self::new("DELETE", target)
    }

    /// A PATCH with JSON.
    pub fn patch(target: impl Into<String>, json: impl Into<Vec<u8>>) -> Self {
        let json = json.into();
        let length = json.len().to_string();
        let request = Self::new("PATCH", target).field("content-type", "application/json");
        request.field("content-length", length).body(json)
    }

    /// A POST with a Content-Length that is right.
    pub fn post(target: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        Self::new("POST", target).field("content-length", length).body(body)
    }

    /// A POST whose body goes in these chunks.
    pub fn chunked<'a>(
        target: impl Into<String>,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> Self {
        let mut body = Vec::new();
        chunks.into_iter().for_each(|bytes| body.extend(chunk(bytes)));
        body.extend(LAST_CHUNK);
        Self::new("POST", target).field("transfer-encoding", "chunked").body(body)
    }

    /// Adds a field. A Host takes the place of the right one.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.has_host |= name == "host";
        self.fields.extend([name.as_bytes(), b": ", value.as_ref(), b"\r\n"].concat());
        self
    }

    /// Without a Host.
    #[must_use]
    pub fn without_host(mut self) -> Self {
        self.has_host = true;
        self
    }

    /// What follows the head, whatever the head says.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Its method.
    #[must_use]
    pub fn method(&self) -> &str {
        self.method
    }

    /// As it is sent to `host`.
    #[must_use]
    pub fn bytes(&self, host: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.has_host {
            let _ = write!(head, "host: {host}\r\n");
        }
        [head.as_bytes(), &self.fields, b"\r\n", &self.body].concat()
    }
}

/// The chunk that ends a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// One chunk of a chunked body.
#[must_use]
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its fields in their order; names in lower case.
    pub fields: Vec<(String, String)>,
    /// Its body, chunks joined.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a field; of the first, where there are several.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Its body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn parse(head: &[u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(head).map_err(|_| invalid(head))?;
        let (line, rest) = text.split_once("\r\n").ok_or_else(|| invalid(head))?;
        let status = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
        let status = status.and_then(|status| status.get(..3)?.parse().ok());
        let fields = rest.split_terminator("\r\n").filter(|line| !line.is_empty()).map(|line| {
            let (name, value) = line.split_once(':').ok_or_else(|| invalid(head))?;
            Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        let fields = fields.collect::<io::Result<_>>()?;
        Ok(Self { status: status.ok_or_else(|| invalid(head))?, fields, body: Vec::new() })
    }

    pub(crate) fn length(&self) -> io::Result<usize> {
        let length = self.field("content-length").and_then(|length| length.parse().ok());
        length.ok_or_else(|| io::Error::other(format!("neither length nor chunks: {self:?}")))
    }
}

pub(crate) fn chunk_size(line: &[u8]) -> io::Result<usize> {
    let text = std::str::from_utf8(line).map_err(|_| invalid(line))?;
    let digits = text.trim_end().split(';').next().unwrap_or_default();
    usize::from_str_radix(digits, 16).map_err(|_| invalid(line))
}

fn invalid(bytes: &[u8]) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, String::from_utf8_lossy(bytes))
}
