//! A server for one term: what it held before, and the most that it holds since.

use std::any::Any;
use std::fs;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use budget::Term;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tests::database::Scratch;
use tokio::runtime::{Builder, Runtime};

use super::wire::Wire;
use crate::scene::{Ground, Memory, Scene, value};

/// A sample of the gauge, and a bit: older figures are of what was before.
const FRESH: Duration = Duration::from_millis(300);

/// Until all that clients held is given back.
const QUIET: Duration = Duration::from_secs(20);

/// Threads keep nothing for later: the allocator counts that as given, and its figure
/// would move by hundreds of KiB with what each thread did last.
const NOTHING_KEPT: (&str, &str) = ("_RJEM_MALLOC_CONF", "tcache:false");

/// There is no place that one more client could ask for.
pub const NOT_ASKED: &str = "-";

/// Connections to the admin listener that a scenario may hold: all but the stage's own.
pub const ADMIN: usize = server::admin::CONNECTIONS - 1;

/// What was seen. All sizes are in bytes.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// What the allocator has given and not got back.
    pub live: u64,
    pub resident: u64,
    /// What the kernel holds for sockets.
    pub sockets: u64,
}

/// A server, and who looks at it.
pub struct Stage {
    pub scene: Scene,
    pub database: Database,
    admin: Wire,
    /// Before clients came.
    pub before: Seen,
    /// The most of each since.
    pub most: Seen,
    /// The last that it said of its terms.
    pub memory: Memory,
}

/// What a scenario has done.
pub struct Driven {
    /// Clients that hold still, until it is dropped.
    pub held: Box<dyn Any>,
    /// As many of each term as it has driven.
    pub driven: Vec<(&'static str, u64)>,
    /// What may hold something beside them, and is not what is shown.
    pub beside: Vec<(&'static str, u64)>,
    /// What one more is told.
    pub told: String,
}

impl Stage {
    /// With all that is made at first use: a stage where each route was asked once.
    pub fn set(arguments: &[&str], rows: u64, keeps: bool) -> Result<Self> {
        let database = Database::create()?;
        let ground = Ground::with(database.url.clone());
        if rows > 0 {
            ground.plant(rows);
            // As long as names and types may be, and nothing that encodes to little.
            database.execute(
                "UPDATE files SET name = left(repeat(md5(id::text), 8), 255),
                     content_type = 'x/' || left(repeat(md5(name), 8), 253),
                     sha256 = sha256(name::bytea)",
            )?;
            database.execute("VACUUM ANALYZE files")?;
        }
        let variables: &[_] = if keeps { &[] } else { &[NOTHING_KEPT] };
        let scene = Scene::start_with(ground, arguments, variables);
        let mut admin = Wire::open(scene.target.admin.context("an admin listener")?)?;
        let (_, text) = admin.get("/memory")?;
        let memory = serde_json::from_str(&text)?;
        let mut stage =
            Self { scene, database, admin, before: Seen::default(), most: Seen::default(), memory };
        stage.warm_up()?;
        Ok(stage)
    }

    pub fn address(&self) -> SocketAddr {
        self.scene.target.address
    }

    fn warm_up(&mut self) -> Result<()> {
        let record = Wire::open(self.address())?.upload(100_000)?;
        let mut client = Wire::open(self.address())?;
        for path in [
            "/livez",
            "/readyz",
            "/v1/files?limit=10",
            &record,
            &format!("{record}/content"),
            &format!("{record}/stats"),
        ] {
            let (head, body) = client.get(path)?;
            ensure!(head.status == 200, "{path}: {} {body}", head.status);
        }
        drop(client);
        self.at_rest()
    }

    /// The term of the plan.
    pub fn term(&self, name: &str) -> Term {
        let found = self.scene.plan.terms.iter().find(|term| term.name == name);
        *found.unwrap_or_else(|| panic!("no term {name}"))
    }

    /// How many of it there may be.
    pub fn count(&self, name: &str) -> usize {
        usize::try_from(self.term(name).count).unwrap_or(usize::MAX)
    }

    /// What is there now is what was there before.
    pub fn begin(&mut self) -> Result<()> {
        std::thread::sleep(FRESH);
        self.before = self.seen()?;
        self.most = self.before.clone();
        Ok(())
    }

    /// Looks, once the gauge has.
    pub fn look(&mut self) -> Result<Seen> {
        std::thread::sleep(FRESH);
        let seen = self.seen()?;
        self.most.live = self.most.live.max(seen.live);
        self.most.resident = self.most.resident.max(seen.resident);
        self.most.sockets = self.most.sockets.max(seen.sockets);
        Ok(seen)
    }

    /// Waits until so much of a term is in use.
    pub fn until_in_use(&mut self, name: &str, count: u64) -> Result<()> {
        let begin = Instant::now();
        loop {
            self.seen()?;
            let in_use = self.memory.of(name).in_use;
            if in_use == count {
                return Ok(());
            }
            ensure!(begin.elapsed() < QUIET, "{name}: {in_use} in use");
        }
    }

    fn seen(&mut self) -> Result<Seen> {
        let (_, text) = self.admin.get("/memory")?;
        self.memory = serde_json::from_str(&text)?;
        let (_, metrics) = self.admin.get("/metrics")?;
        let live = value(&metrics, "memory_live_heap_bytes");
        Ok(Seen {
            live: live.map_err(|error| anyhow!("{error:?}"))?,
            resident: self.scene.target.resident().now,
            sockets: self.scene.sockets().unwrap_or(0),
        })
    }

    /// Notes what sockets hold, without waiting.
    pub fn look_at_sockets(&mut self) {
        self.most.sockets = self.most.sockets.max(self.scene.sockets().unwrap_or(0));
    }

    /// `/memory` as it is told.
    pub fn report(&mut self) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.admin.get("/memory")?.1)?)
    }

    /// Waits until nobody holds anything: permits, sockets, staged files.
    pub fn at_rest(&mut self) -> Result<()> {
        const HELD: [&str; 9] = [
            "requests",
            "sockets, uploads",
            "uploads",
            "upload buffers",
            "downloads",
            "large chunks",
            "pages",
            "rows ahead",
            "encoders",
        ];
        let begin = Instant::now();
        loop {
            let seen = self.seen()?;
            let held: Vec<_> = HELD.iter().filter(|name| self.memory.of(name).in_use > 0).collect();
            let connections = self.memory.of("connections").in_use;
            let staged = self.scene.ground.staged();
            // This one.
            if held.is_empty() && connections == 1 && staged == 0 && seen.sockets <= 256 << 10 {
                std::thread::sleep(FRESH);
                return Ok(());
            }
            if begin.elapsed() > QUIET {
                bail!(
                    "after {QUIET:?}: {held:?}, {connections} connections, {staged} staged files, \
                     {} B of sockets",
                    seen.sockets
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The server's threads whose name begins with `name`.
    pub fn threads(&self, name: &str) -> Result<usize> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.scene.target.id()))?;
        let names =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        Ok(names.filter(|comm| comm.starts_with(name)).count())
    }
}

/// A database, and a way to it beside the server's.
pub struct Database {
    pub url: String,
    runtime: Rc<Runtime>,
    scratch: Option<Scratch>,
}

/// A transaction that holds its locks until it is dropped.
pub struct Lock {
    runtime: Rc<Runtime>,
    connection: Option<PgConnection>,
}

impl Database {
    fn create() -> Result<Self> {
        let runtime = Rc::new(Builder::new_current_thread().enable_all().build()?);
        let scratch = runtime.block_on(Scratch::create())?;
        Ok(Self { url: scratch.url(), runtime, scratch: Some(scratch) })
    }

    /// Runs a statement.
    pub fn execute(&self, statement: &str) -> Result<()> {
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.url).await?;
            sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await?;
            Ok(connection.close().await?)
        })
    }

    /// A number.
    pub fn number(&self, query: &str) -> Result<u64> {
        let number: i64 = self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.url).await?;
            let query = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
            let number = query.fetch_one(&mut connection).await?;
            connection.close().await?;
            anyhow::Ok(number)
        })?;
        Ok(number.try_into()?)
    }

    /// Nobody else reads or writes the table until it is dropped.
    pub fn lock(&self, table: &str) -> Result<Lock> {
        let connection = self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.url).await?;
            sqlx::query("BEGIN").execute(&mut connection).await?;
            let statement = AssertSqlSafe(format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"));
            sqlx::query(statement).execute(&mut connection).await?;
            anyhow::Ok(connection)
        })?;
        Ok(Lock { runtime: self.runtime.clone(), connection: Some(connection) })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = self.runtime.block_on(connection.close());
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(scratch) = self.scratch.take() {
            let _ = self.runtime.block_on(scratch.drop());
        }
    }
}
