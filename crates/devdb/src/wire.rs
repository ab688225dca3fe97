//! As much of Postgres's protocol as is needed to ask whether it answers, and to run statements on
//! a cluster that trusts us. So `psql`, which fetched copies may lack, is not needed.
//!
//! Source: PostgreSQL documentation, "Frontend/Backend Protocol", version 3.0.

use std::io::{self, Read, Write};

use crate::Error;

/// Bytes; the longest message that is read. What arrives here are parameters, errors and single
/// values; a longer one means that it is not Postgres that answers.
const MESSAGE_MAX: usize = 1 << 20;

/// The version number of protocol 3.0: major in the upper half.
const PROTOCOL: i32 = 3 << 16;

/// How a server answers the first message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// It trusts us; statements may follow.
    Welcome,
    /// It asks for a password, and so is alive.
    Password,
    /// It says no.
    Refused(ServerError),
}

/// An error as the server tells it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerError {
    /// SQLSTATE.
    pub(crate) code: String,
    pub(crate) message: String,
}

impl From<ServerError> for Error {
    fn from(ServerError { code, message }: ServerError) -> Error {
        Error::Sql { code, message }
    }
}

/// Introduces us, and reads until it is clear whether we may come in.
pub(crate) fn greet(
    stream: &mut (impl Read + Write),
    user: &str,
    database: &str,
) -> io::Result<Greeting> {
    let mut body = PROTOCOL.to_be_bytes().to_vec();
    for part in ["user", user, "database", database, ""] {
        body.extend_from_slice(part.as_bytes());
        body.push(0);
    }
    stream.write_all(&framed(None, &body)?)?;
    loop {
        match receive(stream)? {
            (b'R', body) if body != [0; 4] => return Ok(Greeting::Password),
            (b'E', body) => return Ok(Greeting::Refused(parse_error(&body))),
            (b'Z', _) => return Ok(Greeting::Welcome),
            _ => {}
        }
    }
}

/// Runs one or several statements; several are one transaction. Rows are not looked at.
pub(crate) fn execute(stream: &mut (impl Read + Write), sql: &str) -> Result<(), Error> {
    let lost = || Error::io("Talking to Postgres");
    let mut body = sql.as_bytes().to_vec();
    body.push(0);
    let query = framed(Some(b'Q'), &body).map_err(lost())?;
    stream.write_all(&query).map_err(lost())?;
    let mut result = Ok(());
    loop {
        match receive(stream).map_err(lost())? {
            (b'E', body) => result = Err(parse_error(&body).into()),
            (b'Z', _) => return result,
            _ => {}
        }
    }
}

/// A message: its type (the first has none), its length with the length's own four bytes, its body.
fn framed(kind: Option<u8>, body: &[u8]) -> io::Result<Vec<u8>> {
    let length = i32::try_from(body.len() + 4).map_err(io::Error::other)?;
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(body);
    Ok(message)
}

fn receive(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    let length = usize::try_from(i32::from_be_bytes(length)).ok().and_then(|n| n.checked_sub(4));
    match length {
        Some(length) if length <= MESSAGE_MAX => {
            let mut body = vec![0; length];
            stream.read_exact(&mut body)?;
            Ok((kind, body))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "what answers is not Postgres")),
    }
}

/// Fields, each a letter and a text that ends with a zero byte; a zero byte ends the list.
fn parse_error(body: &[u8]) -> ServerError {
    let mut error = ServerError::default();
    for field in body.split(|byte| *byte == 0) {
        match field {
            [b'C', code @ ..] => error.code = String::from_utf8_lossy(code).into_owned(),
            [b'M', message @ ..] => error.message = String::from_utf8_lossy(message).into_owned(),
            _ => {}
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what it was made with, keeps what it is told.
    struct Script(io::Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Script {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0.read(into)
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn server(messages: &[(u8, &[u8])]) -> Script {
        let says = messages.iter().flat_map(|(kind, body)| framed(Some(*kind), body).unwrap());
        Script(io::Cursor::new(says.collect()), Vec::new())
    }

    #[test]
    fn the_first_message_is_as_documented() {
        let mut script = server(&[(b'R', &[0; 4]), (b'S', b"a\0b\0"), (b'Z', b"I")]);
        assert_eq!(greet(&mut script, "app", "db").unwrap(), Greeting::Welcome);
        assert_eq!(script.1, b"\0\0\0\x1e\0\x03\0\0user\0app\0database\0db\0\0");
    }

    #[test]
    fn a_server_that_wants_a_password_is_alive() {
        let mut script = server(&[(b'R', &[0, 0, 0, 10])]);
        assert_eq!(greet(&mut script, "app", "db").unwrap(), Greeting::Password);
    }

    #[test]
    fn an_error_keeps_its_code_and_message() {
        let body = b"SFATAL\0C3D000\0Mdatabase \"x\" does not exist\0\0";
        let mut script = server(&[(b'R', &[0; 4]), (b'E', body)]);
        let error =
            ServerError { code: "3D000".into(), message: "database \"x\" does not exist".into() };
        assert_eq!(greet(&mut script, "app", "x").unwrap(), Greeting::Refused(error));
    }

    #[test]
    fn a_failed_statement_is_an_error_and_the_connection_goes_on() {
        let mut script = server(&[
            (b'E', b"C42601\0Msyntax error\0\0"),
            (b'Z', b"I"),
            (b'C', b"SELECT 1\0"),
            (b'Z', b"I"),
        ]);
        let error = execute(&mut script, "selec").unwrap_err();
        assert!(matches!(&error, Error::Sql { code, .. } if code == "42601"), "{error}");
        execute(&mut script, "select 1").unwrap();
    }

    #[test]
    fn something_else_than_postgres_is_told() {
        let mut script = Script(io::Cursor::new(b"HTTP/1.1 400 Bad Request".to_vec()), Vec::new());
        let error = greet(&mut script, "app", "db").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
