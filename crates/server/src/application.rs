//! The application: built once, for `main` and tests alike; run; shut down in
//! order.

use std::hash::RandomState;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use budget::{Figures, Usage};
use handler::{Access, App, Overload, RateLimit};
use sha2::{Digest, Sha256};
use storage::audit::AuditWriter;
use storage::{PoolSettings, Records};
use streaming::{LocalStore, UploadLimits};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::admin::Admin;
use crate::config::{Config, size};
use crate::connection::{Settings, Shutdown};
use crate::gauge::{self, Readings, Sampler, Source};
use crate::io::Deadlines;
use crate::limits::Limits;
use crate::listener::{SocketBuffers, accept, listen};
use crate::memory::{self, Memory};
use crate::plan::LoadLine;
use crate::registry::Connections;
use crate::socket::AT_FIRST;
use crate::{metrics, plan, telemetry};

/// What is left for connections to close after the deadline has passed.
pub const FORCED: Duration = Duration::from_secs(1);

/// The service, listening but not yet accepting.
#[derive(Debug)]
pub struct Application {
    /// What the handlers share.
    pub app: Arc<App>,
    /// The open connections.
    pub connections: Arc<Connections>,
    /// What bounds each.
    pub settings: Arc<Settings>,
    /// What it may hold.
    pub line: LoadLine,
    access: Access,
    // Made, not configured: told when it begins to serve.
    new_token: Option<String>,
    audit_writer: AuditWriter,
    figures: Source,
    listener: TcpListener,
    admin_listener: TcpListener,
    buffers: SocketBuffers,
    tasks: TaskTracker,
    config: Config,
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every request in flight ended by itself.
    Drained,
    /// This many connections were cut off at the deadline; 0 where only work behind
    /// them did not end.
    CutOff(usize),
}

impl Application {
    /// Checks the plan, opens store and pool, and listens. Port 0 takes a free
    /// one.
    ///
    /// # Errors
    /// A plan that does not fit; a folder, database or address that can't be
    /// used; a database that is not migrated.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        config.validate()?;
        let line = LoadLine::of(&config);
        line.plan.check()?;

        let quota = config.content_quota.map(|quota| quota.as_u64());
        let store = LocalStore::open(&config.content_dir, quota).with_context(|| {
            format!("the content folder {} can't be used", config.content_dir.display())
        })?;
        let pool = connect(&config).await?;
        let database = identity(&pool).await?;
        let owner = store.claim(database).context("the content folder can't be claimed")?;
        ensure_owner(&config, owner, database)?;

        let buffers = SocketBuffers {
            receive: size(config.socket_receive_buffer).min(AT_FIRST),
            unsent: u32::try_from(config.socket_unsent.as_u64())?,
        };
        let listener = listen(config.listen, buffers)
            .with_context(|| format!("can't listen on {}", config.listen))?;
        let admin_listener = listen(config.admin_listen, buffers)
            .with_context(|| format!("can't listen on {} (--admin-listen)", config.admin_listen))?;

        let limits = Limits::new(&line.counts, &config);
        let (access, new_token) = access(&config)?;
        let (audit, audit_writer) = storage::audit::queue(config.audit_queue);
        let app = App {
            records: Records::new(
                pool.clone(),
                plan::cache(&config, &line.counts),
                RandomState::new(),
            ),
            pool,
            audit,
            store,
            overload: Overload::default(),
            requests: limits.requests,
            ahead: handler::pages::ahead(),
            pages: limits.pages,
            removals: limits.removals,
            readiness: Arc::new(Semaphore::new(1)),
            encoders: limits.encoders,
            uploads: limits.uploads,
            downloads: limits.downloads,
            upload_limits: UploadLimits {
                max_size: config.max_upload_size.as_u64(),
                buffers: limits.buffers,
                borrow: config.upload_borrow,
                stall: config.upload_timeout,
            },
            chunks: limits.chunks,
            draining: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let settings = Arc::new(Settings {
            buffer: size(config.connection_buffer),
            deadlines: Deadlines {
                first_byte: config.first_byte_timeout,
                head: config.header_timeout,
                idle: config.idle_timeout,
                write: config.write_timeout,
            },
            large_buffers: limits.large_buffers,
        });
        let usage = Usage::open();
        Ok(Self {
            app: Arc::new(app),
            connections: Connections::new(limits.connections),
            settings,
            line,
            access,
            new_token,
            audit_writer,
            figures: Source::new(move || usage.figures()),
            listener,
            admin_listener,
            buffers,
            tasks: TaskTracker::new(),
            config,
        })
    }

    /// The gauge reads these, rather than what [`Usage`] can tell: with the live heap,
    /// which only the binary's allocator knows, or a test's own.
    #[must_use]
    pub fn with_figures(self, figures: impl Fn() -> Figures + Send + Sync + 'static) -> Self {
        Self { figures: Source::new(figures), ..self }
    }

    /// How many files and sockets may be open at once.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.line.counts.descriptors(self.config.pool_connections as usize)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system answers.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where probes are answered too.
    ///
    /// # Errors
    /// What the system answers.
    pub fn admin_addr(&self) -> std::io::Result<SocketAddr> {
        self.admin_listener.local_addr()
    }

    /// Routes and middleware: what [`crate::serve`] serves.
    pub fn service(
        &self,
    ) -> impl tower::Service<
        http::Request<axum::body::Body>,
        Response = http::Response<
            impl http_body::Body<Data = axum::body::Bytes, Error = axum::Error> + Send + 'static,
        >,
        Error = std::convert::Infallible,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static {
        let limit = RateLimit {
            period: self.config.rate_limit_period,
            burst: NonZeroU32::new(self.config.rate_limit_burst).unwrap_or(NonZeroU32::MIN),
            proxies: self.config.trusted_proxies,
        };
        handler::stack(self.app.clone(), self.access.clone(), limit)
    }

    /// Serves until `stop`, then shuts down: readiness fails, the listener
    /// closes (after the delay), requests in flight end (up to the deadline), then publishing,
    /// files and pool. `force` ends the waiting at once.
    pub async fn run(
        self,
        stop: impl Future<Output = ()> + Send,
        force: impl Future<Output = ()> + Send,
    ) -> Outcome {
        let service = self.service();
        let Self {
            app,
            connections,
            settings,
            line,
            audit_writer,
            figures,
            listener,
            admin_listener,
            buffers,
            tasks,
            config,
            new_token,
            ..
        } = self;
        if let Some(token) = new_token {
            telemetry::announce(&token);
        }
        let readings = Readings::default();
        let limit = line.plan.limit.bytes;
        let sampler = Sampler::new(limit, app.overload.clone(), readings.clone());
        let places = Admin::places();
        let memory = Memory {
            plan: line.plan,
            app: app.clone(),
            connections: [connections.clone(), places.clone()],
            large_buffers: settings.large_buffers.clone(),
            figures: figures.clone(),
        };
        let more = memory::routes(memory).merge(metrics::routes(readings));
        let admin =
            Admin::start(admin_listener, app.clone(), places, more, buffers, settings.clone());
        let shutdown = Shutdown::default();
        tasks.spawn(gauge::watch(figures, sampler, shutdown.graceful.clone()));
        tasks.spawn(sweeping(app.clone(), config.clone(), shutdown.graceful.clone()));
        tasks.spawn(following(app.clone(), config.clone(), shutdown.graceful.clone()));
        // It ends after the requests, whose events it writes.
        let requests_ended = CancellationToken::new();
        app.tasks.spawn(audit_writer.run(app.pool.clone(), requests_ended.clone()));
        let mut force = pin!(force);
        let forced = {
            let accepting =
                accept(listener, buffers, &connections, service, &settings, &shutdown, &tasks);
            tokio::select! {
                () = accepting => false,
                forced = async {
                    stop.await;
                    app.draining.cancel();
                    timeout(config.shutdown_delay, &mut force).await.is_ok()
                } => forced,
            }
        };
        let deadline = Instant::now() + config.shutdown_timeout;
        tracing::info!(connections = connections.open(), "shutting down");
        shutdown.graceful.cancel();
        tasks.close();
        let drained = tokio::select! {
            drained = timeout_at(deadline, tasks.wait()), if !forced => drained.is_ok(),
            () = force, if !forced => false,
            else => false,
        };
        let mut outcome =
            if drained { Outcome::Drained } else { Outcome::CutOff(connections.open()) };
        shutdown.forced.cancel();

        // What clients can no longer hold up ends now: their tasks, publishing
        // (bounded by the pool's and the statements' timeouts), files, pool.
        let deadline = deadline.max(Instant::now() + FORCED);
        app.tasks.close();
        let ending = async {
            tasks.wait().await;
            requests_ended.cancel();
            app.tasks.wait().await;
            admin.end().await;
            app.store.close().await;
            app.pool.close().await;
        };
        if timeout_at(deadline, ending).await.is_err() {
            tracing::warn!("some work did not end in time; its leftovers will be swept");
            outcome = match outcome {
                Outcome::Drained => Outcome::CutOff(0),
                cut_off @ Outcome::CutOff(_) => cut_off,
            };
        }
        tracing::info!(?outcome, "shut down");
        outcome
    }
}

/// Connects the pool.
///
/// # Errors
/// No URL, or a database that does not answer.
pub async fn connect(config: &Config) -> anyhow::Result<storage::PgPool> {
    let settings =
        PoolSettings { connections: config.pool_connections, acquire_timeout: config.pool_timeout };
    storage::pool::connect(config.database_url()?, settings)
        .await
        .context("the database can't be reached")
}

/// Which database it is.
///
/// # Errors
/// One that can't be asked, or is not migrated.
pub async fn identity(pool: &storage::PgPool) -> anyhow::Result<Uuid> {
    let migrated = storage::is_migrated(pool).await.context("the database can't be asked")?;
    ensure!(migrated, "the database is not up to date: run `server migrate` first");
    storage::identity(pool).await.context("the database can't be asked")
}

/// Whether the content folder is that of the `database`.
///
/// # Errors
/// Where it is another's.
pub fn ensure_owner(config: &Config, owner: Uuid, database: Uuid) -> anyhow::Result<()> {
    ensure!(
        owner == database,
        "the content folder {} belongs to another database ({owner}, and this is {database}): \
         its files would be swept as leftovers. Set CONTENT_DIR, or DATABASE_URL; or, if it is \
         this database's all the same, delete {0}/database",
        config.content_dir.display(),
    );
    Ok(())
}

/// Who may ask, and the token that was made for want of a configured one.
fn access(config: &Config) -> anyhow::Result<(Access, Option<String>)> {
    if !config.tokens().is_empty() {
        return Ok((Access::Tokens(config.tokens().into()), None));
    }
    if config.listen.ip().is_loopback() {
        return Ok((Access::Loopback, None));
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("no randomness for a token")?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = <[u8; 32]>::from(Sha256::digest(&token));
    Ok((Access::Tokens([digest].into()), Some(token)))
}

/// Keeps the cache in step with what other replicas change.
async fn following(app: Arc<App>, config: Config, stop: CancellationToken) {
    if let Ok(url) = config.database_url() {
        // Boxed: with the listener's connection in it, it is 11 KB.
        stop.run_until_cancelled(Box::pin(app.records.follow(url))).await;
    }
}

async fn sweeping(app: Arc<App>, config: Config, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(config.sweep_interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let swept = tokio::select! {
            () = stop.cancelled() => return,
            swept = handler::sweep::sweep(&app, config.sweep_age) => swept,
        };
        match swept {
            Ok(swept) if swept == Default::default() => {}
            Ok(swept) => tracing::info!(?swept, "leftovers were removed"),
            Err(error) => tracing::warn!(%error, "the sweep broke off"),
        }
    }
}
