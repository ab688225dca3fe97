//! The usual axum starters, as many a project begins: defaults throughout.
//!
//! `starter MODE ADDRESS FOLDER`, with a mode for each habit:
//! - `naive`: a body as `Bytes`, a file read whole.
//! - `stream`: `io::copy` into the file, and out of it a `ReaderStream`.
//! - `serve-dir`: tower-http's `ServeDir`.
#![expect(clippy::unwrap_used, reason = "a peer, never part of the product")]

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Multipart, Path, State};
use axum::routing::{get, post, put};
use futures_util::TryStreamExt;
use tokio::fs::{self, File};
use tokio_util::io::{ReaderStream, StreamReader};
use tower_http::services::ServeDir;

type Folder = State<Arc<PathBuf>>;

async fn naive_put(State(folder): Folder, Path(name): Path<String>, body: Bytes) {
    fs::write(folder.join(name), &body).await.unwrap();
}

async fn naive_get(State(folder): Folder, Path(name): Path<String>) -> Vec<u8> {
    fs::read(folder.join(name)).await.unwrap()
}

async fn stream_put(State(folder): Folder, Path(name): Path<String>, body: Body) {
    let body = body.into_data_stream().map_err(std::io::Error::other);
    let mut file = File::create(folder.join(name)).await.unwrap();
    // A client that leaves is no reason to panic.
    let _ = tokio::io::copy(&mut StreamReader::new(body), &mut file).await;
}

async fn naive_form(State(folder): Folder, mut form: Multipart) {
    while let Some(field) = form.next_field().await.unwrap() {
        let name = field.file_name().unwrap().to_owned();
        #[expect(clippy::disallowed_methods, reason = "this is the starter's habit")]
        let bytes = field.bytes().await.unwrap();
        fs::write(folder.join(name), bytes).await.unwrap();
    }
}

async fn stream_form(State(folder): Folder, mut form: Multipart) {
    while let Some(field) = form.next_field().await.unwrap() {
        let mut file = File::create(folder.join(field.file_name().unwrap())).await.unwrap();
        let field = field.map_err(std::io::Error::other);
        let _ = tokio::io::copy(&mut StreamReader::new(field), &mut file).await;
    }
}

async fn stream_get(
    State(folder): Folder,
    Path(name): Path<String>,
) -> ([(&'static str, String); 1], Body) {
    let file = File::open(folder.join(name)).await.unwrap();
    let length = file.metadata().await.unwrap().len();
    ([("content-length", length.to_string())], Body::from_stream(ReaderStream::new(file)))
}

#[tokio::main]
async fn main() {
    let [mode, address, folder] = std::env::args().skip(1).collect::<Vec<_>>().try_into().unwrap();
    let folder = PathBuf::from(folder);
    let files = match mode.as_str() {
        "naive" => Router::new()
            .route("/{name}", put(naive_put).get(naive_get))
            .route("/form", post(naive_form)),
        "stream" => Router::new()
            .route("/{name}", put(stream_put).get(stream_get))
            .route("/form", post(stream_form)),
        "serve-dir" => Router::new().fallback_service(ServeDir::new(&folder)),
        _ => panic!("no mode is named {mode}"),
    };
    // The body of one of our records, as a bare route gives it.
    let record = serde_json::json!({
        "id": "01939f3c-8a4e-7000-8000-000000000000",
        "name": "a-file-with-a-name-of-forty-characters.x",
        "content_type": "application/octet-stream",
        "size": 1_048_576,
        "sha256": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "created_at": "2026-11-22T10:00:00.000000Z",
        "updated_at": "2026-11-22T10:00:00.000000Z",
    });
    let app = files
        .route("/json", get(async move || axum::Json(record.clone())))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(folder));
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    axum::serve(listener, app).await.unwrap();
}
