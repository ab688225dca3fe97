//! The service as it is built for production, on a database and a folder of the
//! process's own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::{Body, Bytes};
use clap::Parser;
use http::{Request, Response};
use http_body::Body as HttpBody;
use server::connection::{Settings, Shutdown};
use server::registry::Connections;
use server::socket::Receive;
use server::{Application, Config};
use storage::PgPool;
use storage::files::NewFile;
use tests::database::Scratch;
use tower::Service as TowerService;
use uuid::Uuid;

use super::Service;
use super::content::{Content, Digest, digest_of};
use super::pipe::End;
use super::service::quiet;

/// Where a pipe's client seems to be.
pub const PEER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 40_000);

/// What a request's head needs: without tokens, Host must name this machine.
pub const HOST: &str = "host: 127.0.0.1\r\n";

#[derive(Parser)]
#[command(args_override_self = true)] // a case's flags come after those of every case
struct Cli {
    #[command(flatten)]
    config: Config,
}

/// A database and a folder of content, which go when this does.
pub struct Home {
    scratch: Scratch,
    folder: tempfile::TempDir,
}

impl Home {
    /// Runs `variant` in a new home, and clears it away whatever came of it.
    pub async fn with<T>(variant: impl AsyncFnOnce(&Self) -> Result<T>) -> Result<T> {
        let home = Self { scratch: Scratch::create().await?, folder: tempfile::tempdir()? };
        let result = match home.migrate().await {
            Ok(()) => variant(&home).await,
            Err(error) => Err(error),
        };
        home.scratch.drop().await?;
        result
    }

    async fn migrate(&self) -> Result<()> {
        let pool = storage::PgPool::connect(&self.scratch.url()).await?;
        storage::MIGRATOR.run(&pool).await.context("migrating")?;
        pool.close().await;
        Ok(())
    }

    /// The database's URL.
    pub fn url(&self) -> String {
        self.scratch.url()
    }

    /// Where its content and what is staged lie.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Builds the service, with `flags` beside what every case needs.
    pub async fn build(&self, flags: &[&str]) -> Result<Rig> {
        let url = self.scratch.url();
        let folder = self.folder.path().to_str().context("a folder's name that is no text")?;
        // Counts above what any case has in flight: a permit may be back a
        // moment later than the answer.
        let always = [
            ["--database-url", &url],
            ["--content-dir", folder],
            ["--listen", "127.0.0.1:0"],
            ["--admin-listen", "127.0.0.1:0"],
            ["--memory-limit", "1GiB"],
            ["--max-uploads", "32"],
            ["--max-downloads", "32"],
            ["--max-pages", "32"],
            ["--max-requests", "256"],
            // What would grow with the limit.
            ["--max-connections", "112"],
            ["--max-encoders", "4"],
            ["--cache-size", "1MiB"],
            // Nobody takes from the queue here: full from the warm-up on, it drops
            // what comes, and holds the same before a measurement and after.
            ["--audit-queue", "16"],
            // All clients are one address: the limit has a case of its own.
            ["--rate-limit-period", "1us"],
            ["--rate-limit-burst", "1000000"],
        ];
        // What a case sets itself comes instead.
        let always = always.iter().filter(|[name, _]| !flags.contains(name)).flatten().copied();
        let arguments = ["memory"].into_iter().chain(always);
        let Cli { config } = Cli::try_parse_from(arguments.chain(flags.iter().copied()))?;
        let application = Application::build(config).await?;
        Ok(Rig { application, folder: self.folder.path().to_owned() })
    }
}

/// It has no kernel behind it.
impl Receive for End {
    fn set_receive_buffer(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
}

/// The service that is measured, and what its naive twin needs of it.
pub struct Rig {
    pub application: Application,
    folder: PathBuf,
}

impl Rig {
    /// Connections to the service itself.
    pub fn service(&self) -> Service {
        self.serving(self.application.service())
    }

    /// Connections to a twin's routes, through the same connection code.
    pub fn twin(&self, router: Router) -> Service {
        self.serving(router)
    }

    /// Connections to any service, through the same connection code.
    pub fn serving<S, B>(&self, service: S) -> Service
    where
        S: TowerService<
                Request<Body>,
                Response = Response<B>,
                Error = std::convert::Infallible,
                Future: Send,
            > + Clone
            + Send
            + Sync
            + 'static,
        B: HttpBody<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
            + Send
            + 'static,
    {
        let connections: Arc<Connections> = self.application.connections.clone();
        let settings: Arc<Settings> = self.application.settings.clone();
        Service::new(move |io| {
            let (connections, service, settings) =
                (connections.clone(), service.clone(), settings.clone());
            async move {
                let Some(seat) = connections.admit().await else { return };
                // A client that leaves is no error here.
                let _ = server::serve(io, PEER, service, settings, seat, Shutdown::default()).await;
            }
        })
    }

    /// Where content lies, by id.
    pub fn content(&self) -> PathBuf {
        self.folder.join("content")
    }

    /// Makes a file of `size` bytes in the service, without the service.
    pub async fn seed(&self, size: u64) -> Result<(Uuid, Digest)> {
        let (id, mut content) = (Uuid::now_v7(), Content::new());
        content.write(&self.content().join(id.to_string()), size)?;
        let sha256 = content.digest(size);
        let [name, content_type] = ["seed", "application/octet-stream"].map(str::to_owned);
        let file = NewFile { id, name, content_type, size: i64::try_from(size)?, sha256 };
        storage::files::insert(&self.application.app.pool, &file).await?;
        Ok((id, sha256))
    }

    /// Checks that `count` files were stored, each with this digest, and removes
    /// them.
    pub fn take_stored(&self, count: usize, digest: Digest) -> Result<()> {
        let files = files_in(&self.content())?;
        ensure!(files.len() == count, "{} files where {count} were sent", files.len());
        for file in files {
            ensure!(digest_of(&file)? == digest, "what was stored is not what was sent");
            std::fs::remove_file(file)?;
        }
        Ok(())
    }

    /// Files that are staged: of uploads in flight, or left behind.
    pub fn staged(&self) -> Result<usize> {
        Ok(files_in(&self.folder.join("staging"))?.len())
    }

    /// Ends what the service began, so that the database can be dropped.
    pub async fn end(self) {
        self.application.app.store.close().await;
        self.application.app.pool.close().await;
    }
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

/// Until every connection is back in its pool: each return is a task of 7,424 bytes,
/// which is the pool's cost, and the database may take its time to answer the ping in it.
pub async fn returned(pool: &PgPool) {
    while pool.num_idle() < pool.size() as usize {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Closes every pooled connection, once all have [`settled`]: by what a connection has read last
/// and in how many pieces it came, its buffers are 16 KiB, or 24, or more, which is the
/// pool's cost.
pub async fn emptied(pool: &PgPool) -> Result<()> {
    settled(pool).await?;
    while pool.size() > 0 {
        pool.acquire().await?.close().await?;
    }
    Ok(())
}

/// What is live once no query is under way either: on a busy machine nothing changes
/// while the database has no turn.
pub async fn settled(pool: &PgPool) -> Result<usize> {
    let settled = async {
        loop {
            returned(pool).await;
            let live = quiet().await?;
            if pool.num_idle() == pool.size() as usize {
                return Ok(live);
            }
        }
    };
    let settled = tokio::time::timeout(Duration::from_secs(30), settled).await;
    settled.context("a pooled connection is held for a client that does not read")?
}
