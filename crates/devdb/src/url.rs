//! Postgres URLs: `postgres://user:password@host:port/database?parameter=value`.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::place::PORT;

/// The parts of a URL, decoded. Its `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) user: String,
    pub(crate) password: Option<String>,
    /// A name, an address, or the absolute path of a socket's directory.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: String,
    /// What follows the question mark, but for what is above.
    pub(crate) parameters: Vec<(String, String)>,
}

impl Url {
    /// Parses what libpq and sqlx take alike. `default_user` is for a URL without one.
    pub(crate) fn parse(url: &str, default_user: &str) -> Result<Url, Error> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or(Error::BadUrl("it does not begin with postgres://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        // A password may hold an @ that nobody encoded, a host can't: the last one counts.
        let (login, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(decode(password)?)),
            None => (login, None),
        };
        let (host, port) = match address.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
            Some((v6, rest)) => (v6, rest.strip_prefix(':')),
            None => match address.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        let mut parsed = Url {
            user: decode(user)?,
            password,
            host: decode(host)?,
            port: parse_port(port.unwrap_or_default())?,
            database: decode(database)?,
            parameters: Vec::new(),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value)?;
            match name {
                "host" | "hostaddr" => parsed.host = value,
                "port" => parsed.port = parse_port(&value)?,
                "user" => parsed.user = value,
                "password" => parsed.password = Some(value),
                "dbname" => parsed.database = value,
                _ => parsed.parameters.push((decode(name)?, value)),
            }
        }
        for (part, default) in [(&mut parsed.host, "localhost"), (&mut parsed.user, default_user)] {
            if part.is_empty() {
                default.clone_into(part);
            }
        }
        if parsed.database.is_empty() {
            parsed.database.clone_from(&parsed.user);
        }
        Ok(parsed)
    }

    /// The socket, when the host is a directory.
    pub(crate) fn socket(&self) -> Option<PathBuf> {
        self.host
            .starts_with('/')
            .then(|| Path::new(&self.host).join(format!(".s.PGSQL.{}", self.port)))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Url")
            .field("user", &self.user)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// The URL of a database behind the socket in `dir`. The port is told, since clients would take
/// it from `PGPORT` otherwise.
pub(crate) fn of_socket(dir: &Path, user: &str, database: &str) -> String {
    let dir = encode(&dir.to_string_lossy());
    format!("postgres://{user}@localhost:{PORT}/{}?host={dir}", encode(database))
}

fn parse_port(port: &str) -> Result<u16, Error> {
    match port {
        "" => Ok(PORT),
        port => port.parse().map_err(|_| Error::BadUrl("its port is not a number")),
    }
}

fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
        encoded
    })
}

fn decode(text: &str) -> Result<String, Error> {
    let broken = || Error::BadUrl("a %-code in it is broken");
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let high = digit(bytes.next()).ok_or_else(broken)?;
                let low = digit(bytes.next()).ok_or_else(broken)?;
                u8::try_from(high * 16 + low).map_err(|_| broken())?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| Error::BadUrl("it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Url {
        Url::parse(url, "me").unwrap()
    }

    #[test]
    fn every_part_is_read() {
        let url = parse("postgresql://al%40ice:p:w@d@db.example:6543/my%20db?sslmode=require");
        assert_eq!((url.user.as_str(), url.password.as_deref()), ("al@ice", Some("p:w@d")));
        assert_eq!((url.host.as_str(), url.port), ("db.example", 6543));
        assert_eq!(url.database, "my db");
        assert_eq!(url.parameters, [("sslmode".to_owned(), "require".to_owned())]);
        assert_eq!(url.socket(), None);
    }

    #[test]
    fn what_is_missing_has_a_default() {
        let url = parse("postgres://");
        assert_eq!((url.host.as_str(), url.port), ("localhost", 5432));
        assert_eq!((url.user.as_str(), url.database.as_str()), ("me", "me"));
        assert_eq!(parse("postgres://bob@h").database, "bob");
    }

    #[test]
    fn addresses_of_six_and_sockets_are_hosts_too() {
        let url = parse("postgres://u@[::1]:99/d");
        assert_eq!((url.host.as_str(), url.port), ("::1", 99));
        assert_eq!(parse("postgres://u@[fe80::1]/d").host, "fe80::1");
        let socket = Some(PathBuf::from("/run/pg/.s.PGSQL.5432"));
        assert_eq!(parse("postgres://u@%2Frun%2Fpg/d").socket(), socket);
        assert_eq!(parse("postgres:///d?host=/run/pg&user=u").socket(), socket);
    }

    #[test]
    fn our_own_urls_survive_strange_paths() {
        let dir = Path::new("/tmp/a b+c&d?é%/.dev");
        let url = parse(&of_socket(dir, "app", "my db"));
        assert_eq!(Path::new(&url.host), dir);
        assert_eq!((url.user.as_str(), url.database.as_str()), ("app", "my db"));
    }

    #[test]
    fn what_is_no_postgres_url_is_refused() {
        for url in
            ["mysql://u@h/d", "u@h/d", "postgres://h:port/d", "postgres://h/%+f", "postgres://h/%4"]
        {
            assert!(matches!(Url::parse(url, "me"), Err(Error::BadUrl(_))), "{url}");
        }
    }

    #[test]
    fn debug_hides_the_password() {
        let shown = format!("{:?}", parse("postgres://u:sesame@h/d?password=open"));
        assert!(!shown.contains("sesame") && !shown.contains("open"), "{shown}");
    }
}
