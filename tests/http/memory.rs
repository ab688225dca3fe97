//! `/memory` on the admin listener.

use std::sync::Arc;

use budget::Figures;
use handler::Permits;
use serde_json::{Value, json};
use server::socket::LARGE_BODY;
use sqlx::PgPool;
use tests::{Client, Request};

use crate::rig::{Service, content, eventually, problem};

/// What the gauge reads, in bytes.
const RESIDENT: u64 = 40 << 20;

async fn memory(service: &Service) -> Value {
    let mut client = Client::connect(service.admin).await.unwrap();
    let answer = client.exchange(&Request::get("/memory")).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.field("content-type"), Some("application/json"));
    serde_json::from_slice(&answer.body).unwrap()
}

/// A term's count, what of it is in use, and was at most.
fn term(memory: &Value, name: &str) -> [u64; 3] {
    let terms = memory["terms"].as_array().unwrap();
    let term = terms.iter().find(|term| term["name"] == name).unwrap();
    ["count", "in_use", "peak"].map(|member| term[member].as_u64().unwrap())
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_is_in_use_is_told_beside_the_plan_and_its_peak_stays(database: PgPool) {
    let flags = ["--max-uploads", "3", "--upload-borrow", "0", "--memory-limit", "64MiB"];
    let service = Service::start(&database, &flags).await;
    *service.figures.lock().unwrap() = Figures { resident: Some(RESIDENT), ..Figures::default() };
    let before = memory(&service).await;
    for name in [
        "requests",
        "uploads",
        "upload buffers",
        "sockets, uploads",
        "downloads",
        "large chunks",
        "pages",
        "rows ahead",
        "encoders",
    ] {
        assert_eq!(term(&before, name)[1..], [0, 0], "{name}");
    }
    for name in ["base", "threads", "cache", "audit queue", "rate limit", "log"] {
        let [count, in_use, peak] = term(&before, name);
        assert_eq!((in_use, peak), (count, count), "{name}");
    }

    let mut busy = service.client().await;
    let content = content(2 * LARGE_BODY);
    let (most, rest) = content.split_at(content.len() - 1);
    let request = Request::post("/v1/files?name=a", content.as_slice());
    busy.request(&request.body(most)).await.unwrap();
    let buffers = &service.app.upload_limits.buffers;
    eventually("it is in flight", async || {
        buffers.free() == 2
            && service.staged() == 1
            && term(&memory(&service).await, "sockets, uploads") == [3, 1, 1]
    })
    .await;
    let during = memory(&service).await;
    assert_eq!(term(&during, "uploads"), [3, 1, 1]);
    assert_eq!(term(&during, "upload buffers"), [3, 1, 1]);
    assert_eq!(term(&during, "requests")[1..], [1, 1]);
    // The client's, and those that asked here.
    let [count, in_use, peak] = term(&during, "connections");
    assert!((2..=3).contains(&in_use) && (in_use..=3).contains(&peak) && count > 100);
    assert_eq!(term(&during, "sockets, unsent")[0], count);

    // What is more in use is what the terms say of it.
    let member = |memory: &Value, name: &str| memory[name].as_u64().unwrap();
    let bytes = |memory: &Value, name: &str| {
        let mut terms = memory["terms"].as_array().unwrap().iter();
        member(terms.find(|term| term["name"] == name).unwrap(), "bytes_in_use")
    };
    let sum = |memory: &Value| {
        let terms = memory["terms"].as_array().unwrap().iter();
        terms.map(|term| term["bytes_in_use"].as_u64().unwrap()).sum::<u64>()
    };
    for memory in [&before, &during] {
        assert_eq!(member(memory, "in_use"), sum(memory));
        assert!(member(memory, "in_use") <= member(memory, "ceiling"));
        assert!(member(memory, "ceiling") + member(memory, "slack") <= member(memory, "limit"));
        assert_eq!(memory["limit_by"], "MEMORY_LIMIT");
        let measured = json!({"live_heap": null, "resident": RESIDENT, "group": null});
        assert_eq!(memory["measured"], measured);
        let sockets = ["sockets, received", "sockets, unsent", "sockets, uploads", "rows ahead"];
        let terms = memory["terms"].as_array().unwrap().iter();
        let kernel = terms.filter(|term| term["kind"] == "kernel");
        let kernel: Vec<_> = kernel.map(|term| term["name"].as_str().unwrap()).collect();
        assert_eq!(kernel, sockets);
        let explained = sockets.iter().fold(sum(memory), |rest, name| rest - bytes(memory, name));
        assert_eq!(memory["residual"], RESIDENT.cast_signed() - explained.cast_signed());
    }
    assert!(member(&during, "in_use") > member(&before, "in_use"));

    busy.send(rest).await.unwrap();
    let answer = busy.response(false).await.unwrap();
    assert_eq!((answer.status, answer.field("connection")), (201, Some("close")));
    service.at_rest().await;
    let after = memory(&service).await;
    assert_eq!(term(&after, "sockets, uploads"), [3, 0, 1]);
    assert_eq!(term(&after, "uploads"), [3, 0, 1]);
    assert_eq!(term(&after, "upload buffers"), [3, 0, 1]);
    drop(busy);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn all_that_is_taken_is_in_use(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.plant(&content(8 << 20)).await;
    let mut readers = Vec::new();
    for _ in 0..2 {
        let mut reader = Client::connect_narrow(service.address, 16 << 10).await.unwrap();
        reader.request(&Request::get(&file.content)).await.unwrap();
        assert_eq!(reader.head().await.unwrap().status, 200);
        readers.push(reader);
    }
    let during = memory(&service).await;
    assert_eq!(term(&during, "downloads")[1..], [2, 2]);
    assert_eq!(term(&during, "requests")[1..], [2, 2]);
    drop(readers);
    service.at_rest().await;
    // Others are over too soon to be looked at: three and four permits instead.
    let app = &service.app;
    let take = |permits: &Arc<Permits>, count| {
        let taken = std::iter::repeat_with(|| permits.clone().try_acquire_owned().unwrap());
        taken.take(count).collect::<Vec<_>>()
    };
    let held = (take(&app.pages, 3), take(&app.encoders, 4));
    let during = memory(&service).await;
    assert_eq!(term(&during, "pages")[1..], [3, 3]);
    assert_eq!(term(&during, "encoders")[1..], [4, 4]);
    drop(held);
    let after = memory(&service).await;
    assert_eq!(term(&after, "downloads")[1..], [0, 2]);
    assert_eq!(term(&after, "pages")[1..], [0, 3]);
    assert_eq!(term(&after, "encoders")[1..], [0, 4]);
    // Not for clients.
    problem(&service.ask(Request::get("/memory")).await, 404, "no-such-route");
    service.end().await;
}
