//! `/memory` on the admin listener: the plan, and what of it is in use.

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use budget::{InUse, MemoryReport, Plan, Term};
use handler::{App, Permits};

use crate::gauge::Source;
use crate::registry::Connections;
use crate::socket::LargeBuffers;

/// Where it is.
pub const PATH: &str = "/memory";

/// The plan, and who knows what is in use of it.
#[derive(Debug)]
pub struct Memory {
    /// What may be.
    pub plan: Plan,
    /// The permits of most terms.
    pub app: Arc<App>,
    /// Of both listeners.
    pub connections: [Arc<Connections>; 2],
    /// Of their sockets.
    pub large_buffers: Arc<LargeBuffers>,
    /// What is measured.
    pub figures: Source,
}

/// The route.
pub fn routes(memory: Memory) -> Router {
    let memory = Arc::new(memory);
    Router::new().route(PATH, get(async move || Json(memory.report())))
}

impl Memory {
    fn report(&self) -> MemoryReport {
        self.plan.beside(self.figures.read(), |term| self.in_use(term))
    }

    fn in_use(&self, term: &Term) -> InUse {
        let app = &self.app;
        let of = |permits: &Permits| in_use(permits.taken(), permits.most());
        match term.name {
            "connections" | "sockets, received" | "sockets, unsent" => {
                let [clients, admin] = &self.connections;
                // Perhaps not at the same moment: it may have been less.
                in_use(clients.open() + admin.open(), clients.most() + admin.most())
            }
            "sockets, uploads" => in_use(self.large_buffers.taken(), self.large_buffers.most()),
            "requests" => of(&app.requests),
            "uploads" => of(&app.uploads),
            "upload buffers" => {
                let buffers = &app.upload_limits.buffers;
                in_use(buffers.taken(), buffers.most())
            }
            "downloads" => of(&app.downloads),
            "large chunks" => in_use(app.chunks.taken(), app.chunks.most()),
            "pages" => of(&app.pages),
            "rows ahead" => of(&app.ahead),
            "encoders" => of(&app.encoders),
            // There from the beginning, or filled and not given back.
            _ => InUse { now: term.count, peak: term.count },
        }
    }
}

fn in_use(now: usize, peak: usize) -> InUse {
    InUse { now: now as u64, peak: peak as u64 }
}
