//! The service as it is built for production, and what must be true of it when
//! a test ends.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use budget::Figures;
use clap::Parser;
use handler::App;
use server::registry::Connections;
use server::{Application, Config, Outcome};
use sha2::{Digest as _, Sha256};
use sqlx::{ConnectOptions, PgPool};
use tempfile::TempDir;
use tests::{Client, Request, Response};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::eventually;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    config: Config,
}

/// What a test may set otherwise.
const DEFAULTS: [(&str, &str); 4] = [
    ("--listen", "127.0.0.1:0"),
    ("--admin-listen", "127.0.0.1:0"),
    ("--memory-limit", "1GiB"),
    ("--shutdown-timeout", "10s"),
];

/// A running service.
pub struct Service {
    pub app: Arc<App>,
    pub connections: Arc<Connections>,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// What the gauge reads: nothing is known, unless the test says so. The machine that
    /// it runs on may be short of memory.
    pub figures: Arc<Mutex<Figures>>,
    /// Ends the waiting of a shutdown.
    pub force: CancellationToken,
    stop: CancellationToken,
    running: JoinHandle<Outcome>,
    database: PgPool,
    folder: PathBuf,
    uploads: usize,
    downloads: usize,
    _temporary: Option<TempDir>,
}

/// A file that the service holds.
#[derive(Clone, Debug)]
pub struct File {
    pub id: Uuid,
    pub record: String,
    pub content: String,
    pub etag: String,
}

impl Service {
    /// Starts one on the test's database, in a folder of its own.
    pub async fn start(database: &PgPool, flags: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut service = Self::start_in(database, temporary.path(), flags).await;
        service._temporary = Some(temporary);
        service
    }

    /// Starts one in a folder that the test provides. `database` is where the
    /// test looks; the service takes it too, without a `--database-url`.
    pub async fn start_in(database: &PgPool, folder: &Path, flags: &[&str]) -> Self {
        let figures = Arc::<Mutex<Figures>>::default();
        let gauged = figures.clone();
        let application = Self::build_in(database, folder, flags).await.unwrap();
        let application = application.with_figures(move || *gauged.lock().unwrap());
        let (stop, force) = (CancellationToken::new(), CancellationToken::new());
        let (app, connections) = (application.app.clone(), application.connections.clone());
        let (uploads, downloads) =
            (app.uploads.available_permits(), app.downloads.available_permits());
        let address = application.local_addr().unwrap();
        let admin = application.admin_addr().unwrap();
        let run = application.run(stop.clone().cancelled_owned(), force.clone().cancelled_owned());
        Self {
            app,
            connections,
            address,
            admin,
            figures,
            force,
            stop,
            running: TaskTracker::new().spawn(run),
            database: database.clone(),
            folder: folder.to_owned(),
            uploads,
            downloads,
            _temporary: None,
        }
    }

    /// Builds one, and does not run it.
    pub async fn build_in(
        database: &PgPool,
        folder: &Path,
        flags: &[&str],
    ) -> anyhow::Result<Application> {
        if std::env::var_os("RUST_LOG").is_some() {
            let _ = server::telemetry::start().map(std::mem::forget);
        }
        Application::build(Self::config(database, folder, flags)).await
    }

    /// The settings of one.
    pub fn config(database: &PgPool, folder: &Path, flags: &[&str]) -> Config {
        let url = database.connect_options().to_url_lossy();
        let url = ("--database-url", url.as_str());
        let root = ("--content-dir", folder.to_str().unwrap());
        let defaults = DEFAULTS.into_iter().chain([url, root]);
        let defaults = defaults.filter(|(flag, _)| !flags.contains(flag));
        let defaults = defaults.flat_map(|(flag, value)| [flag, value]);
        let arguments = ["server"].into_iter().chain(defaults).chain(flags.iter().copied());
        Cli::parse_from(arguments).config
    }

    /// A new connection.
    pub async fn client(&self) -> Client {
        Client::connect(self.address).await.unwrap()
    }

    /// Asks on a connection of its own.
    pub async fn ask(&self, request: Request) -> Response {
        self.client().await.exchange(&request).await.unwrap_or_else(|error| {
            let bytes = request.bytes(self.address);
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]);
            panic!("no answer: {error}\n{shown}")
        })
    }

    /// Uploads a file.
    pub async fn store(&self, name: &str, content: impl Into<Vec<u8>>) -> File {
        let response = self.ask(Request::post(format!("/v1/files?name={name}"), content)).await;
        File::of(&response)
    }

    /// Puts a file in place without an upload, for when it is large.
    pub async fn plant(&self, content: &[u8]) -> File {
        let id = Uuid::now_v7();
        fs::write(self.folder.join("content").join(id.to_string()), content).unwrap();
        let insert = "INSERT INTO files (id, name, content_type, size, sha256)
                      VALUES ($1, 'planted', 'text/plain', $2, $3)";
        let query = sqlx::query(insert).bind(id).bind(i64::try_from(content.len()).unwrap());
        let sha256: [u8; 32] = Sha256::digest(content).into();
        query.bind(&sha256[..]).execute(&self.database).await.unwrap();
        let record = format!("/v1/files/{id}");
        File {
            id,
            content: format!("{record}/content"),
            etag: format!("\"{}\"", sha256.map(|byte| format!("{byte:02x}")).concat()),
            record,
        }
    }

    /// Where a file's content is.
    pub fn content_of(&self, file: &File) -> PathBuf {
        self.folder.join("content").join(file.id.to_string())
    }

    /// The folder of all.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of staged uploads.
    pub fn staging(&self) -> PathBuf {
        self.folder.join("staging")
    }

    /// Takes the folder of staged uploads away.
    pub async fn lose_staging(&self) {
        // The check at start removes its file by the way.
        self.at_rest().await;
        fs::remove_dir(self.staging()).unwrap();
    }

    /// Gives it back.
    pub fn return_staging(&self) {
        fs::create_dir(self.staging()).unwrap();
    }

    /// How many uploads are staged.
    pub fn staged(&self) -> usize {
        fs::read_dir(self.staging()).unwrap().count()
    }

    /// How many bytes of staged uploads are on disk.
    pub fn staged_bytes(&self) -> u64 {
        let entries = fs::read_dir(self.staging()).unwrap();
        // One may be gone by the time that it is looked at.
        entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
    }

    /// The keys of all content.
    pub fn contents(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.folder.join("content")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The ids of all records.
    pub async fn records(&self) -> BTreeSet<String> {
        let ids: Vec<Uuid> = sqlx::query_scalar("SELECT coalesce(array_agg(id), '{}') FROM files")
            .fetch_one(&self.database)
            .await
            .unwrap();
        ids.iter().map(Uuid::to_string).collect()
    }

    /// Uploads that may begin.
    pub fn free_uploads(&self) -> usize {
        self.app.uploads.available_permits()
    }

    /// Downloads that may begin.
    pub fn free_downloads(&self) -> usize {
        self.app.downloads.available_permits()
    }

    /// Waits until no upload or download is in flight, and nothing is staged.
    pub async fn at_rest(&self) {
        eventually("all permits are free", async || {
            (self.free_uploads(), self.free_downloads()) == (self.uploads, self.downloads)
        })
        .await;
        eventually("nothing is staged", async || self.staged() == 0).await;
    }

    /// Begins the shutdown.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Shuts down, and checks that nothing is left behind.
    pub async fn end(self) {
        self.at_rest().await;
        self.end_with(Outcome::Drained).await;
    }

    /// As [`Service::end`], of a shutdown that goes otherwise.
    pub async fn end_with(mut self, outcome: Outcome) {
        self.stop();
        assert_eq!((&mut self.running).await.unwrap(), outcome);
        assert_eq!(self.connections.open(), 0, "connections are open");
        // The result of a task on the blocking pool, which may hold one, is dropped just
        // after the task counts as ended.
        eventually("all permits are free", async || {
            (self.free_uploads(), self.free_downloads()) == (self.uploads, self.downloads)
        })
        .await;
        assert_eq!(self.staged(), 0, "uploads are staged");
        assert_eq!(self.contents(), self.records().await, "content and records differ");
        assert!(self.app.tasks.is_empty(), "tasks are left");
        assert!(self.app.pool.is_closed(), "the pool is open");
    }
}

impl File {
    /// The file that a 201 tells of.
    pub fn of(response: &Response) -> Self {
        assert_eq!(response.status, 201, "{}", response.text());
        let record: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        let id = record["id"].as_str().unwrap();
        let path = format!("/v1/files/{id}");
        assert_eq!(response.field("location"), Some(path.as_str()));
        Self {
            id: id.parse().unwrap(),
            content: format!("{path}/content"),
            etag: format!("\"{}\"", record["sha256"].as_str().unwrap()),
            record: path,
        }
    }
}
