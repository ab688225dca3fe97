//! The admin listener: places of its own, to the very end of a shutdown.

use std::sync::Arc;

use axum::Router;
use handler::App;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::connection::{Settings, Shutdown};
use crate::listener::{SocketBuffers, accept};
use crate::registry::Connections;

/// Connections to the admin listener at most: a prober, a scraper, a person, and
/// one to spare. One more closes the longest idle.
pub const CONNECTIONS: usize = 4;

/// The admin listener at work.
#[derive(Debug)]
pub struct Admin {
    shutdown: Shutdown,
    tasks: TaskTracker,
}

impl Admin {
    /// [`CONNECTIONS`] places.
    #[must_use]
    pub fn places() -> Arc<Connections> {
        Connections::new(Arc::new(Semaphore::new(CONNECTIONS)))
    }

    /// Accepts from now on, until [`Admin::end`]. `more` are routes beside the probes.
    #[must_use]
    pub fn start(
        listener: TcpListener,
        app: Arc<App>,
        places: Arc<Connections>,
        more: Router,
        buffers: SocketBuffers,
        settings: Arc<Settings>,
    ) -> Self {
        let (shutdown, tasks) = (Shutdown::default(), TaskTracker::new());
        let (inner, connections) = (tasks.clone(), shutdown.clone());
        tasks.spawn(async move {
            let service = handler::admin(app, more);
            accept(listener, buffers, &places, service, &settings, &connections, &inner).await;
        });
        Self { shutdown, tasks }
    }

    /// Closes listener and connections; what is asked at this moment has no answer.
    pub async fn end(self) {
        self.shutdown.graceful.cancel();
        self.shutdown.forced.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
