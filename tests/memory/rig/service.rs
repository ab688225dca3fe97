//! A service under measurement: connections over pipes, each in a task.

use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use meter::{NotQuiet, Quiet, quiesce};
use tokio_util::task::TaskTracker;

use super::Client;
use super::pipe::{End, pipe};

type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves connections until their clients leave. Clones share it.
#[derive(Clone)]
pub struct Service {
    serve: Rc<dyn Fn(End) -> Connection>,
    connections: TaskTracker,
}

/// A connection that is about to begin: its client, and the end that the
/// service will get. All that the client ever needs is allocated.
pub struct Call {
    service: Service,
    client: Client,
    far: End,
}

impl Service {
    /// Serves each connection by `serve`, the future of which is the service's
    /// cost.
    pub fn new<F>(serve: impl Fn(End) -> F + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let serve = Rc::new(move |io| Box::pin(serve(io)) as Connection);
        Self { serve, connections: TaskTracker::new() }
    }

    pub fn call(&self) -> Call {
        let (near, far) = pipe();
        Call { service: self.clone(), client: Client::new(near), far }
    }

    /// Connections that have not ended.
    pub fn open(&self) -> usize {
        self.connections.len()
    }

    /// Waits until every connection's task has ended.
    pub async fn closed(&self) {
        // Yielding first: most end within a few turns, and a sleep is 1 ms.
        for _ in 0..1000 {
            if self.connections.is_empty() {
                return;
            }
            tokio::task::yield_now().await;
        }
        while !self.connections.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until every connection's task has ended, and live bytes have come
    /// to rest; returns them.
    pub async fn rest(&self) -> Result<usize, NotQuiet> {
        self.closed().await;
        quiet().await
    }
}

/// Waits until live bytes have come to rest, connections or not; returns them.
pub async fn quiet() -> Result<usize, NotQuiet> {
    quiesce(Quiet::default(), tokio::time::sleep).await
}

impl Call {
    /// Begins the connection. From here on, the service pays.
    pub fn begin(self) -> Client {
        let Self { service, client, far } = self;
        service.connections.spawn((service.serve)(far));
        client
    }
}
