//! What can go wrong, and what to do about it: each message names a way out.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why there is no database. Displayed, it is one message for a person; it never holds a password.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No Postgres programs were found, and none could be fetched.
    NotFound {
        /// Every place looked at, in order.
        looked_at: String,
        /// Why nothing was fetched.
        fetch: String,
    },
    /// `PG_BIN_DIR` is set and of no use.
    BinDir {
        /// Its value.
        dir: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// `DATABASE_URL` is set and is no Postgres URL.
    BadUrl(&'static str),
    /// `DATABASE_URL` is set and nothing answers there.
    NoAnswer {
        /// Its host.
        host: String,
        /// Its database.
        database: String,
        /// The connection's error.
        why: String,
    },
    /// `DATABASE_URL` is set, and the server there does not let us in.
    Refused {
        /// Its host.
        host: String,
        /// Its database.
        database: String,
        /// What the server said.
        why: String,
    },
    /// The tests make a database each, and `DATABASE_URL`'s role may not.
    MayNotCreate {
        /// The role.
        role: String,
    },
    /// We are root, Postgres refuses root, and we may not become its user.
    CannotSwitch {
        /// The user.
        user: String,
        /// The system's error.
        source: io::Error,
    },
    /// No directory was found whose socket path is short enough.
    SocketPath {
        /// The socket's path.
        path: PathBuf,
        /// Why the short directory can't be used instead.
        why: String,
    },
    /// Another process has the cluster.
    Running {
        /// The cluster's directory.
        dir: PathBuf,
        /// The process that started it, if it left its id.
        holder: Option<u32>,
    },
    /// The data is of another major version than the programs.
    Version {
        /// The cluster's directory.
        dir: PathBuf,
        /// The data's major version.
        data: u32,
        /// Where the programs are.
        bin: PathBuf,
        /// Their major version.
        major: u32,
    },
    /// `initdb` or `postgres` ended early.
    DidNotStart {
        /// Which of the two.
        program: &'static str,
        /// The last lines of its log.
        log_end: String,
        /// The log.
        log: PathBuf,
    },
    /// The private Postgres refused a statement.
    Sql {
        /// SQLSTATE, five characters.
        code: String,
        /// The server's message.
        message: String,
    },
    /// A file, a directory or a process could not be had.
    Io {
        /// What was tried.
        what: String,
        /// The system's error.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: an I/O error and what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotFound { looked_at, fetch } => write!(
                f,
                "No Postgres found. Looked at: {looked_at}; fetch: {fetch}. Do one of: \
                 install it (apt-get install postgresql, brew install postgresql), \
                 or set PG_BIN_DIR to the folder of its programs, \
                 or set DATABASE_URL to a database that runs."
            ),
            Error::BinDir { dir, why } => write!(
                f,
                "PG_BIN_DIR is set to {}, but {why}. It must be the folder that holds postgres \
                 and initdb. Unset it to look elsewhere.",
                dir.display()
            ),
            Error::BadUrl(why) => write!(
                f,
                "DATABASE_URL is set, but {why}. Its form is \
                 postgres://user:password@host:port/database. Unset it to use a private Postgres."
            ),
            Error::NoAnswer { host, database, why } => write!(
                f,
                "DATABASE_URL is set (host {host}, database {database}) but nothing answers \
                 within 3 s: {why}. Unset it to use a private Postgres."
            ),
            Error::Refused { host, database, why } => write!(
                f,
                "DATABASE_URL is set (host {host}, database {database}) but the server there \
                 refuses: {why}. Unset it to use a private Postgres."
            ),
            Error::MayNotCreate { role } => write!(
                f,
                "DATABASE_URL's role {role} may not create databases, which the tests need: \
                 ALTER ROLE {role} CREATEDB"
            ),
            Error::CannotSwitch { user, source } => write!(
                f,
                "Cannot switch to user '{user}' ({source}): run as an ordinary user, \
                 or set DATABASE_URL."
            ),
            Error::SocketPath { path, why } => write!(
                f,
                "{} is {} bytes long, and a socket's path may have 103; {why}. \
                 Move the checkout to a shorter path, or set DATABASE_URL.",
                path.display(),
                path.as_os_str().len()
            ),
            Error::Running { dir, holder } => {
                match holder {
                    Some(id) => write!(f, "Already running: process {id}")?,
                    None => write!(f, "Already running: another process")?,
                }
                write!(
                    f,
                    " uses the Postgres in {0} (data in {0}/data). End it first.",
                    dir.display()
                )
            }
            Error::Version { dir, data, bin, major } => write!(
                f,
                "{0}/data was made by Postgres {data} but {1} is {major}: set PG_BIN_DIR, \
                 or delete {0} (loses its data).",
                dir.display(),
                bin.display()
            ),
            Error::DidNotStart { program, log_end, log } => {
                write!(f, "{program} did not start: {log_end}\n(the whole log: {})", log.display())
            }
            Error::Sql { code, message } => write!(f, "Postgres refused: {message} ({code})"),
            Error::Io { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The message holds it already; a chain would say it twice.
        None
    }
}
