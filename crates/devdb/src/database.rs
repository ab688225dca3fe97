//! The database to use: the one that `DATABASE_URL` names, else a private one.

use std::env;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use crate::url::Url;
use crate::wire::{self, Greeting, ServerError};
use crate::{Cluster, Error, Purpose};

/// How long `DATABASE_URL`'s server has to answer. sqlx would wait 30 s on a refused port.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// Where the database comes from.
#[derive(Debug)]
pub enum Database {
    /// `DATABASE_URL` is set: nothing was started.
    External(External),
    /// A Postgres of our own; it ends when this value is dropped.
    Private(Cluster),
}

impl Database {
    /// Uses `DATABASE_URL` when it is set and not empty, and otherwise starts a [`Cluster`].
    ///
    /// An external server gets 3 s to answer. For [`Purpose::Test`] its role must be allowed to
    /// create databases; that is checked with `psql`, and `progress` says so when there is none.
    ///
    /// # Errors
    /// All of [`Error`]. Blocks until the database takes connections.
    pub fn open(
        purpose: Purpose,
        checkout: &Path,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Database, Error> {
        match env::var("DATABASE_URL").ok().filter(|url| !url.is_empty()) {
            Some(url) => External::open(&url, purpose, progress).map(Database::External),
            None => Cluster::start(purpose, checkout, progress).map(Database::Private),
        }
    }

    /// The URL to connect with: `DATABASE_URL` itself, password included, or that of the private
    /// database `name`, which is made unless it exists.
    ///
    /// # Errors
    /// When the private database can't be made.
    pub fn url(&self, name: &str) -> Result<String, Error> {
        match self {
            Database::External(external) => Ok(external.text.clone()),
            Database::Private(cluster) => cluster.create_database(name).map(|()| cluster.url(name)),
        }
    }

    /// Ends the private Postgres, as [`Cluster::stop`] does; one that someone else runs is left
    /// alone.
    ///
    /// # Errors
    /// As [`Cluster::stop`].
    pub fn stop(self) -> Result<(), Error> {
        match self {
            Database::External(_) => Ok(()),
            Database::Private(cluster) => cluster.stop(),
        }
    }
}

/// A database that someone else runs. Its `Debug` does not show the password.
pub struct External {
    url: Url,
    /// As it was given: what of it we don't understand goes on to the client.
    text: String,
}

impl fmt::Debug for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl External {
    fn open(
        url: &str,
        purpose: Purpose,
        progress: &mut dyn FnMut(&str),
    ) -> Result<External, Error> {
        let user = env::var("USER").unwrap_or_else(|_| "postgres".to_owned());
        let external = External { url: Url::parse(url, &user)?, text: url.to_owned() };
        external.probe(ANSWER_LIMIT)?;
        if purpose == Purpose::Test {
            external.check_role(progress)?;
        }
        Ok(external)
    }

    /// Its host: a name, an address or a socket's directory.
    pub fn host(&self) -> &str {
        &self.url.host
    }

    /// Its database.
    pub fn database(&self) -> &str {
        &self.url.database
    }

    /// Connects and introduces itself. A request for a password is an answer, so is a refusal to
    /// talk without TLS: whether the password is right, the service will see.
    fn probe(&self, limit: Duration) -> Result<(), Error> {
        let (sender, receiver) = sync_channel(1);
        let url = self.url.clone();
        // In a thread: looking up a name can't be given a time limit. On a timeout it is left
        // behind; it holds one connection, and the process is about to end.
        thread::spawn(move || sender.send(greet(&url)));
        let (host, database) = (self.url.host.clone(), self.url.database.clone());
        match receiver.recv_timeout(limit) {
            Ok(Ok(Greeting::Welcome | Greeting::Password)) => Ok(()),
            // Class 28: invalid authorization, for example that TLS is required.
            Ok(Ok(Greeting::Refused(error))) if error.code.starts_with("28") => Ok(()),
            Ok(Ok(Greeting::Refused(ServerError { message: why, .. }))) => {
                Err(Error::Refused { host, database, why })
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Err(Error::Refused { host, database, why: error.to_string() })
            }
            Ok(Err(error)) => Err(Error::NoAnswer { host, database, why: error.to_string() }),
            Err(_) => Err(Error::NoAnswer { host, database, why: "timed out".to_owned() }),
        }
    }

    /// The role check needs a login, and a login may need a password and TLS: `psql` has both.
    fn check_role(&self, progress: &mut dyn FnMut(&str)) -> Result<(), Error> {
        let Url { user, password, host, port, database, parameters } = &self.url;
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--no-password", "--tuples-only", "--no-align", "--command"]);
        psql.arg(
            "SELECT rolsuper OR rolcreatedb, rolname FROM pg_roles WHERE rolname = current_user",
        );
        // By the environment: everyone on the machine can read a command line.
        psql.env("PGCONNECT_TIMEOUT", ANSWER_LIMIT.as_secs().to_string())
            .env("PGHOST", host)
            .env("PGPORT", port.to_string())
            .env("PGUSER", user)
            .env("PGDATABASE", database)
            .envs(password.as_ref().map(|password| ("PGPASSWORD", password)))
            .envs(parameters.iter().filter_map(|(name, value)| Some((variable(name)?, value))));
        let output = match psql.stdin(Stdio::null()).output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                progress(
                    "No psql found: not checked that DATABASE_URL's role may create databases",
                );
                return Ok(());
            }
            output => output.map_err(Error::io("Running psql"))?,
        };
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Error::Refused { host: host.clone(), database: database.clone(), why });
        }
        match parse_role(&String::from_utf8_lossy(&output.stdout)) {
            Some(role) => Err(Error::MayNotCreate { role: role.to_owned() }),
            None => Ok(()),
        }
    }
}

/// libpq's variable for a URL's parameter, of those that a login may need.
fn variable(parameter: &str) -> Option<&'static str> {
    Some(match parameter {
        "sslmode" | "ssl-mode" => "PGSSLMODE",
        "sslrootcert" | "ssl-root-cert" | "ssl-ca" => "PGSSLROOTCERT",
        "sslcert" | "ssl-cert" => "PGSSLCERT",
        "sslkey" | "ssl-key" => "PGSSLKEY",
        _ => return None,
    })
}

/// The role that may *not* create databases, in `psql`'s answer `f|role`.
fn parse_role(answer: &str) -> Option<&str> {
    answer.trim().strip_prefix("f|")
}

/// Tries every address of the host, as clients do; `localhost` often has two.
fn greet(url: &Url) -> io::Result<Greeting> {
    if let Some(socket) = url.socket() {
        return introduce(UnixStream::connect(socket)?, url);
    }
    let mut result = Err(io::Error::other("the host has no address"));
    for address in (url.host.as_str(), url.port).to_socket_addrs()? {
        result = TcpStream::connect(address).and_then(|stream| introduce(stream, url));
        if result.is_ok() {
            break;
        }
    }
    result
}

fn introduce(mut stream: impl Read + Write, url: &Url) -> io::Result<Greeting> {
    wire::greet(&mut stream, &url.user, &url.database)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Instant;

    fn at(listener: &TcpListener) -> External {
        let port = listener.local_addr().unwrap().port();
        let url = format!("postgres://bob:sesame@127.0.0.1:{port}/shop");
        External { url: Url::parse(&url, "me").unwrap(), text: url }
    }

    fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    /// The probe's result when the server sends `answer` and waits.
    fn probe_answered_by(answer: &'static [u8]) -> Result<(), Error> {
        let listener = listener();
        let external = at(&listener);
        thread::scope(|scope| {
            let server = scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(answer).unwrap();
                // Until the client leaves.
                let _ = stream.read_to_end(&mut Vec::new());
            });
            let result = external.probe(ANSWER_LIMIT);
            server.join().unwrap();
            result
        })
    }

    #[test]
    fn a_request_for_a_password_is_an_answer() {
        probe_answered_by(b"R\0\0\0\x08\0\0\0\x0a").unwrap();
    }

    #[test]
    fn a_refusal_to_talk_without_tls_is_an_answer() {
        probe_answered_by(b"E\0\0\0\x16C28000\0Mno pg_hba\0\0").unwrap();
    }

    #[test]
    fn what_the_server_refuses_is_told() {
        let error = probe_answered_by(b"E\0\0\0\x15C57P03\0Mstarting\0\0").unwrap_err();
        let message = error.to_string();
        assert!(message.contains("refuses: starting. Unset it"), "{message}");
    }

    #[test]
    fn another_kind_of_server_is_told() {
        let message = probe_answered_by(b"HTTP/1.1 400 Bad Request\r\n").unwrap_err().to_string();
        assert!(message.contains("refuses: what answers is not Postgres"), "{message}");
    }

    #[test]
    fn nothing_there_is_told_without_the_password() {
        let external = at(&listener()); // closed again
        let message = external.probe(ANSWER_LIMIT).unwrap_err().to_string();
        let expected = "DATABASE_URL is set (host 127.0.0.1, database shop) but nothing answers \
                        within 3 s: Connection refused";
        assert!(message.starts_with(expected), "{message}");
        assert!(message.ends_with("Unset it to use a private Postgres."), "{message}");
        assert!(!message.contains("sesame") && !format!("{external:?}").contains("sesame"));
    }

    #[test]
    fn a_silent_server_is_given_up() {
        let listener = listener();
        let start = Instant::now();
        let message = at(&listener).probe(Duration::from_millis(50)).unwrap_err().to_string();
        assert!(message.contains("timed out"), "{message}");
        assert!(start.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn a_role_that_may_not_create_databases_is_told_how_to() {
        assert_eq!(parse_role("t|alice\n"), None);
        let role = parse_role("f|bob\n").unwrap().to_owned();
        assert_eq!(
            Error::MayNotCreate { role }.to_string(),
            "DATABASE_URL's role bob may not create databases, which the tests need: \
             ALTER ROLE bob CREATEDB"
        );
    }
}
