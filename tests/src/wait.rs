//! Waiting for what happens by itself.

use std::time::Duration;

/// How long to wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds, and fails where it does not in time.
///
/// # Panics
/// Where it does not hold within 20 s.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let polling = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, polling).await.is_ok(), "in vain: {what}");
}
