//! A database and a folder, and the servers on them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tests::database::Scratch;
use tests::{Target, eventually, server_binary};
use uuid::Uuid;

/// Above the server's `--sweep-age`.
const OLD: Duration = Duration::from_secs(2 * 3600);

/// Where servers find their rows and their content.
pub struct Ground {
    url: String,
    scratch: Option<Scratch>,
    folder: TempDir,
}

/// What a record says of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub size: u64,
    pub sha256: String,
}

impl Ground {
    /// With a database on the Postgres that all tests share.
    pub async fn new() -> Self {
        let scratch = Scratch::create().await.unwrap();
        Self::migrated(scratch.url(), Some(scratch))
    }

    /// With a database of the test's own.
    pub fn with(url: String) -> Self {
        Self::migrated(url, None)
    }

    fn migrated(url: String, scratch: Option<Scratch>) -> Self {
        // Not in /tmp, which may be memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let ground = Self { url, scratch, folder };
        let status = ground.command().arg("migrate").status().unwrap();
        assert!(status.success(), "migrate: {status}");
        ground
    }

    /// The database's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A server, not yet started.
    pub fn command(&self) -> Command {
        let mut command = Command::new(server_binary());
        self.equip(&mut command);
        command
    }

    /// Tells a command that becomes a server where it finds everything.
    pub fn equip(&self, command: &mut Command) {
        command
            .env("DATABASE_URL", &self.url)
            .env("CONTENT_DIR", self.folder.path())
            .env("LISTEN", "127.0.0.1:0")
            .env("ADMIN_LISTEN", "127.0.0.1:0")
            .env("MEMORY_LIMIT", "1GiB")
            // Clients of one address that never pause.
            .env("RATE_LIMIT_PERIOD", "1us")
            .env("RATE_LIMIT_BURST", "1000000");
    }

    /// A running server.
    pub fn server(&self, flags: &[&str]) -> Target {
        let mut command = self.command();
        command.args(flags);
        Target::start(command)
    }

    /// The folder of published content.
    pub fn content(&self) -> PathBuf {
        self.folder.path().join("content")
    }

    /// The folder of staged uploads.
    pub fn staging(&self) -> PathBuf {
        self.folder.path().join("staging")
    }

    /// The keys of all content.
    pub fn contents(&self) -> BTreeSet<Uuid> {
        let names = names(&self.content());
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    /// How many uploads are staged.
    pub fn staged(&self) -> usize {
        names(&self.staging()).len()
    }

    /// All records.
    pub async fn records(&self) -> BTreeMap<Uuid, Said> {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let query = "SELECT coalesce(array_agg(id), '{}'), coalesce(array_agg(size), '{}'),
                            coalesce(array_agg(encode(sha256, 'hex')), '{}') FROM files";
        let (ids, sizes, digests): (Vec<Uuid>, Vec<i64>, Vec<String>) =
            sqlx::query_as(query).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let said = sizes.into_iter().zip(digests);
        let said = said.map(|(size, sha256)| Said { size: size.try_into().unwrap(), sha256 });
        ids.into_iter().zip(said).collect()
    }

    /// Waits until no server has a connection to the database: a statement of one
    /// that was killed may still be at work.
    pub async fn abandoned(&self) {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        eventually("no server has a connection", async || {
            let query = "SELECT count(*) FROM pg_stat_activity
                         WHERE datname = current_database() AND pid <> pg_backend_pid()";
            sqlx::query_scalar::<_, i64>(query).fetch_one(&mut connection).await.unwrap() == 0
        })
        .await;
        connection.close().await.unwrap();
    }

    /// Makes all that is on disk as old as the sweep asks for.
    pub fn age(&self) {
        age(&self.content());
        self.age_staged();
    }

    /// The same, of staged uploads alone.
    pub fn age_staged(&self) {
        age(&self.staging());
    }

    /// Content and records are of the same files, and nothing is staged.
    pub async fn is_whole(&self) -> bool {
        self.staged() == 0 && self.contents() == self.records().await.into_keys().collect()
    }
}

fn age(folder: &Path) {
    for name in names(folder) {
        // One may be gone by the time that it is opened.
        if let Ok(file) = File::open(folder.join(name)) {
            file.set_modified(SystemTime::now() - OLD).unwrap();
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

impl Drop for Ground {
    fn drop(&mut self) {
        let Some(scratch) = self.scratch.take() else { return };
        // A runtime of its own: the test's may be at its end.
        let dropping = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let _ = runtime.unwrap().block_on(scratch.drop());
        });
        let _ = dropping.join();
    }
}
