//! The naive twin as a server: what many a starter project does. The body is
//! taken as `Bytes`, the file is read whole. It exists to be killed in the
//! memory limit that the service survives, and to show what stays resident.
#![expect(clippy::unwrap_used, reason = "a twin, never part of the product")]

use std::path::PathBuf;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};

async fn upload(State(path): State<PathBuf>, body: Bytes) -> &'static str {
    tokio::fs::write(path, &body).await.unwrap();
    "ok"
}

async fn download(State(path): State<PathBuf>) -> Vec<u8> {
    tokio::fs::read(path).await.unwrap()
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (address, path) = (arguments.next().unwrap(), arguments.next().unwrap());
    let app = Router::new()
        .route("/v1/files", post(upload))
        .route("/content", get(download))
        .layer(DefaultBodyLimit::disable())
        .with_state(PathBuf::from(path));
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    eprintln!("listening on http://{}", listener.local_addr().unwrap());
    axum::serve(listener, app).await.unwrap();
}
