//! A private Postgres: made, started, awaited, ended.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::account::{self, Account};
use crate::run::{Run, USER, data_version};
use crate::search::{Programs, Search};
use crate::wire::{self, Greeting};
use crate::{Error, Leash, Purpose, lock, place, url};

/// How long a shutdown may take before it is cut short. It writes a checkpoint: at most
/// `shared_buffers`, 16 MB.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A running private Postgres.
///
/// Dropping it is [`Cluster::stop`] with the result ignored. Should the process be killed instead,
/// Postgres shuts down by itself (see [`Leash`]), and the next start waits for that.
#[derive(Debug)]
pub struct Cluster {
    // Dropped first: Postgres must be gone before the lock.
    postgres: Leash,
    dir: PathBuf,
    sockets: PathBuf,
    bin_dir: PathBuf,
    _lock: File,
}

impl Cluster {
    /// Starts the cluster of `purpose` that belongs to a checkout, and returns when it takes
    /// connections. `progress` gets lines for a person: what is fetched, whom it runs as, what it
    /// waits for.
    ///
    /// The data is in `.dev/` of the checkout, or, as root, in a directory of `/var/lib` named
    /// after the checkout. Ready within 0.1 s when the data exists, 1 s when it must be made.
    ///
    /// # Errors
    /// All of [`Error`] that is not about `DATABASE_URL`. A second start for the same checkout and
    /// purpose fails with [`Error::Running`]: at once for [`Purpose::Dev`], after 10 s for
    /// [`Purpose::Test`].
    pub fn start(
        purpose: Purpose,
        checkout: &Path,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Cluster, Error> {
        let base = place::base(checkout, account::we_are_root()?)?;
        Cluster::start_in(&base, purpose, progress)
    }

    /// Like [`Cluster::start`], with everything below `base`. As root, `base` must be reachable
    /// by the user `postgres` (or `nobody`).
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_in(
        base: &Path,
        purpose: Purpose,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Cluster, Error> {
        let dir = base.join(purpose.folder());
        let account = match account::we_are_root()? {
            true => Some(Account::for_data_in(&dir)?.check()?),
            false => None,
        };
        let account = account.as_ref();
        place::make_base(base)?;
        place::make_private(&dir, account)?;
        let sockets = place::socket_dir(&dir, account)?;
        let lock = lock::take(&dir, purpose, progress)?;
        if let Some(Account { name, uid, .. }) = account {
            progress(&format!(
                "Running as root: Postgres refuses root, so it runs as '{name}' (uid {uid}), \
                 data in {}.",
                dir.display()
            ));
        }

        let found = data_version(&dir);
        let programs = Search::new(base, account).run(found, progress)?;
        let run = Run { dir: &dir, programs: &programs, account, log: &lock };
        match found {
            Some(data) if data == programs.major => {}
            None => run.initdb()?,
            Some(_) if purpose == Purpose::Test => {
                let what = format!("Deleting {}/data, of another major version", dir.display());
                progress(&what);
                fs::remove_dir_all(dir.join("data")).map_err(Error::io(what))?;
                run.initdb()?;
            }
            Some(data) => {
                let Programs { dir: bin, major } = programs;
                return Err(Error::Version { dir, data, bin, major });
            }
        }
        let postgres = run.postgres(purpose, &sockets)?;
        Ok(Cluster { postgres, dir, sockets, bin_dir: programs.dir, _lock: lock })
    }

    /// The URL of one of its databases, over the socket, as sqlx and libpq take it. A database
    /// that is there from the start is `postgres`.
    pub fn url(&self, database: &str) -> String {
        url::of_socket(&self.sockets, USER, database)
    }

    /// The command line with which a person looks into a database. Where there is no `psql` in
    /// `PATH`, it is that of the programs in use, if they have one.
    pub fn psql(&self, database: &str) -> String {
        let path = env::var_os("PATH").unwrap_or_default();
        let own = self.bin_dir.join("psql");
        let psql = match env::split_paths(&path).any(|dir| dir.join("psql").is_file()) {
            false if own.is_file() => own,
            _ => PathBuf::from("psql"),
        };
        format!(
            "{} \"host={} port={} user={USER} dbname={database}\"",
            psql.display(),
            self.sockets.display(),
            place::PORT
        )
    }

    /// Where the data is. Delete its parent, with nothing running, to begin anew.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where its programs are; a fetched copy may have no `psql` there.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// Makes a database, unless it exists.
    ///
    /// # Errors
    /// When the connection fails or the server refuses.
    pub fn create_database(&self, name: &str) -> Result<(), Error> {
        // An identifier in quotes, its own quotes doubled.
        let sql = format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\""));
        match self.execute("postgres", &sql) {
            Err(Error::Sql { code, .. }) if code == "42P04" => Ok(()), // duplicate_database
            other => other,
        }
    }

    /// Runs SQL in a database, on a connection of its own; several statements are one transaction.
    /// For setting up: rows are not returned, and there is no time limit.
    ///
    /// # Errors
    /// [`Error::Sql`] when the server refuses, with its message.
    pub fn execute(&self, database: &str, sql: &str) -> Result<(), Error> {
        let lost = || Error::io("Talking to Postgres");
        let mut stream = UnixStream::connect(self.sockets.join(place::SOCKET)).map_err(lost())?;
        match wire::greet(&mut stream, USER, database).map_err(lost())? {
            Greeting::Welcome => wire::execute(&mut stream, sql),
            Greeting::Refused(error) => Err(error.into()),
            Greeting::Password => Err(lost()(io::Error::other("it asks for a password"))),
        }
    }

    /// Shuts down cleanly and waits for it: open transactions are rolled back, connections closed,
    /// a checkpoint written. Some 50 ms. After 30 s it is killed, and the next start repairs.
    ///
    /// # Errors
    /// When the process can't be waited for, or had to be killed.
    pub fn stop(mut self) -> Result<(), Error> {
        self.shut_down()
    }

    fn shut_down(&mut self) -> Result<(), Error> {
        let failed = || Error::io("Stopping Postgres");
        self.postgres.end().map_err(failed())?;
        if self.postgres.wait_for(STOP_LIMIT).map_err(failed())?.is_none() {
            self.postgres.kill().map_err(failed())?;
            let late = format!("it took longer than {} s and was killed", STOP_LIMIT.as_secs());
            return Err(failed()(io::Error::other(late)));
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.shut_down();
    }
}
