//! `/livez` and `/readyz`: for whoever starts and stops the service.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::{App, Problem};

/// The longest that a readiness probe works: probes are asked every few
/// seconds, and an answer that comes later than that is of no use.
const PATIENCE: Duration = Duration::from_secs(2);

/// A probe's answer.
#[derive(Debug, Serialize)]
pub struct Status {
    status: &'static str,
}

/// 200 as long as the process answers at all.
pub async fn livez() -> Json<Status> {
    Json(Status { status: "alive" })
}

/// 200 when the database and the store answer, and no shutdown has begun; else
/// 503.
///
/// # Errors
/// 503.
pub async fn readyz(State(app): State<Arc<App>>) -> Result<Json<Status>, Problem> {
    if app.draining.is_cancelled() {
        return Err(Problem::busy("the service is shutting down"));
    }
    let checks = async {
        // One at a time, whoever asks: neither the pool nor a disk that hangs is
        // anyone's to fill with probes.
        let turn = app.readiness.clone().acquire_owned().await;
        let turn = turn.map_err(|_| Problem::internal())?;
        storage::ping(&app.pool).await?;
        app.store.check(turn).await.map_err(Problem::from)
    };
    match tokio::time::timeout(PATIENCE, checks).await {
        Ok(Ok(())) => Ok(Json(Status { status: "ready" })),
        Ok(Err(_)) | Err(_) => Err(Problem::unavailable()),
    }
}
