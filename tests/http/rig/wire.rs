//! A wire between the service and its database, which a test can cut, mute or strand.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{ConnectOptions, PgPool};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The wire. Dropping it cuts it.
pub struct Wire {
    address: SocketAddr,
    far: Far,
    url: String,
    muted: watch::Sender<bool>,
    /// How often it was stranded: each connection knows how often before it came.
    strandings: Arc<AtomicU64>,
    tasks: TaskTracker,
    cut: CancellationToken,
}

#[derive(Clone)]
enum Far {
    Tcp(String, u16),
    Unix(PathBuf),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Wire {
    /// A wire to the test's database.
    pub async fn to(database: &PgPool) -> Self {
        let options = database.connect_options();
        let (host, port) = (options.get_host().to_owned(), options.get_port());
        let folder = options.get_socket().cloned();
        let folder = folder.or_else(|| host.starts_with('/').then(|| PathBuf::from(&host)));
        let far = match folder {
            Some(folder) => Far::Unix(folder.join(format!(".s.PGSQL.{port}"))),
            None => Far::Tcp(host, port),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut url = options.to_url_lossy();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(address.port())).unwrap();
        url.set_query(Some("sslmode=disable"));
        let (muted, tasks) = (watch::Sender::new(false), TaskTracker::new());
        let (strandings, cut) = (Arc::default(), CancellationToken::new());
        let wire = Self { address, far, url: url.into(), muted, strandings, tasks, cut };
        wire.carry(listener);
        wire
    }

    /// Where the service finds its database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Breaks all connections, and refuses new ones.
    pub async fn cut(&mut self) {
        self.cut.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Takes new connections again.
    pub async fn mend(&mut self) {
        (self.cut, self.tasks) = (CancellationToken::new(), TaskTracker::new());
        self.carry(TcpListener::bind(self.address).await.unwrap());
    }

    /// Holds back what the database answers, or lets it through again.
    pub fn mute(&self, muted: bool) {
        self.muted.send_replace(muted);
    }

    /// Says nothing more on the connections that there are, and does not end them;
    /// new ones work.
    pub fn strand(&self) {
        self.strandings.fetch_add(1, Ordering::SeqCst);
    }

    fn carry(&self, listener: TcpListener) {
        let (far, muted, cut) = (self.far.clone(), self.muted.clone(), self.cut.clone());
        let (tasks, strandings) = (self.tasks.clone(), self.strandings.clone());
        let accepting = async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let carried = pass(near, far.clone(), muted.subscribe(), strandings.clone());
                tasks.spawn(cut.clone().run_until_cancelled_owned(carried));
            }
        };
        self.tasks.spawn(self.cut.clone().run_until_cancelled_owned(accepting));
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.cut.cancel();
    }
}

/// Passes bytes both ways until either side ends.
async fn pass(
    near: TcpStream,
    far: Far,
    mut muted: watch::Receiver<bool>,
    strandings: Arc<AtomicU64>,
) {
    let before = strandings.load(Ordering::SeqCst);
    let far: Box<dyn Stream> = match far {
        Far::Tcp(host, port) => Box::new(TcpStream::connect((host, port)).await.unwrap()),
        Far::Unix(path) => Box::new(UnixStream::connect(path).await.unwrap()),
    };
    let (mut answers, mut asks) = split(far);
    let (mut from_service, mut to_service) = near.into_split();
    let answering = async {
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = answers.read(&mut buffer).await {
            let _ = muted.wait_for(|muted| !muted).await;
            if strandings.load(Ordering::SeqCst) != before {
                return std::future::pending().await;
            }
            if to_service.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = answering => {}
        _ = copy(&mut from_service, &mut asks) => {}
    }
}

/// Waits until the service hears of changes: before, its cache forgets what was
/// read, as it can't know what it missed.
pub async fn listening(database: &PgPool) {
    super::eventually("it listens", async || {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                     AND state = 'idle' AND query ILIKE 'listen %'";
        sqlx::query_scalar::<_, i64>(query).fetch_one(database).await.unwrap() == 1
    })
    .await;
    // The answer is on its way.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
}
