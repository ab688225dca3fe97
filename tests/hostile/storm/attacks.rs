//! The attacks: what a client can do to a service, and what it may be told.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tests::Request;

use super::field::{CLOSED, Field, forged};
use crate::content::block;

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Clients that do the same.
#[derive(Clone, Copy)]
pub struct Attack {
    pub name: &'static str,
    /// How many at once.
    pub clients: usize,
    /// What they may be told: nothing else must come.
    pub told: &'static [u16],
    /// What one of them does until the field's time is over.
    pub run: fn(Arc<Field>) -> Running,
}

/// Between two bytes of who is slow.
const TRICKLE: Duration = Duration::from_millis(200);

/// More than any buffer on the way takes in.
const LARGE: u64 = 64 << 20;

/// All of them. Any may find that there is no place (503), or that it had one and was
/// closed for somebody else's sake.
pub const ATTACKS: [Attack; 14] = [
    attack("forged addresses", 32, &[404, 429, 503, CLOSED], |field| Box::pin(forge(field))),
    attack("idle connections", 300, &[200, 503, CLOSED], |field| Box::pin(idle(field))),
    attack("slow heads", 200, &[408, 503, CLOSED], |field| Box::pin(slow_head(field))),
    attack("slow uploads", 200, &[408, 503, CLOSED], |field| Box::pin(slow_upload(field))),
    attack("stalled readers", 200, &[200, 503, CLOSED], |field| Box::pin(stall(field))),
    attack("large uploads", 2, &[201, 503, CLOSED], |field| Box::pin(large(field))),
    attack("aborted uploads", 16, &[503, CLOSED], |field| Box::pin(abort_upload(field))),
    attack("aborted downloads", 16, &[200, 503, CLOSED], |field| Box::pin(abort_download(field))),
    attack("stalled exports", 100, &[200, 503, CLOSED], |field| Box::pin(export(field))),
    attack("JSON bombs", 8, &[400, 413, 415, 422, 503, CLOSED], |field| Box::pin(json(field))),
    attack("forms of many parts", 8, &[400, 413, 422, 503, CLOSED], |field| Box::pin(form(field))),
    attack("floods of ranges", 8, &[200, 206, 503, CLOSED], |field| Box::pin(ranges(field))),
    attack("floods of fields", 8, &[400, 431, 503, CLOSED], |field| Box::pin(fields(field))),
    attack("compressed bodies", 8, &[400, 415, 503, CLOSED], |field| Box::pin(encoded(field))),
];

const fn attack(
    name: &'static str,
    clients: usize,
    told: &'static [u16],
    run: fn(Arc<Field>) -> Running,
) -> Attack {
    Attack { name, clients, told, run }
}

/// Each request by another address, as many as the connection takes at once.
async fn forge(field: Arc<Field>) {
    const AT_ONCE: usize = 64;
    while field.goes_on() {
        let Some(mut client) = field.connect().await else { continue };
        while field.goes_on() {
            let mut requests = Vec::new();
            for _ in 0..AT_ONCE {
                let request = Request::get("/none").field("x-forwarded-for", forged());
                requests.extend(request.bytes(field.address));
            }
            if client.send(&requests).await.is_err() {
                break;
            }
            let mut answered = 0;
            while answered < AT_ONCE {
                let answer = client.response(false).await.map(|answer| answer.status);
                if field.note(answer).is_none() {
                    break;
                }
                answered += 1;
            }
            if answered < AT_ONCE {
                break;
            }
        }
    }
}

async fn idle(field: Arc<Field>) {
    while field.goes_on() {
        let Some(mut client) = field.connect().await else { continue };
        let request = Request::get("/livez").field("x-forwarded-for", forged());
        let answer = client.exchange(&request).await.map(|answer| answer.status);
        if field.note(answer).is_some() {
            // Until it is closed.
            tokio::select! {
                _ = client.end() => {}
                () = field.rest() => {}
            }
        }
    }
}

async fn slow_head(field: Arc<Field>) {
    while field.goes_on() {
        let Some(mut client) = field.connect().await else { continue };
        // Nearly all of the buffer at once, and then little by little.
        let filler = "x".repeat(14 << 10);
        let head = format!("GET /livez HTTP/1.1\r\nhost: {}\r\nx-a: {filler}", field.address);
        let mut sent = client.send(head).await;
        while field.goes_on() && sent.is_ok() {
            tokio::time::sleep(TRICKLE).await;
            sent = client.send("x").await;
        }
        if sent.is_err() {
            field.note(client.head().await.map(|head| head.status));
        }
    }
}

async fn slow_upload(field: Arc<Field>) {
    while field.goes_on() {
        let Some(mut client) = field.connect().await else { continue };
        let request = Request::new("POST", "/v1/files?name=slow")
            .field("x-forwarded-for", forged())
            .field("content-length", LARGE.to_string())
            .body(&block()[..60 << 10]);
        let mut sent = client.request(&request).await;
        while field.goes_on() && sent.is_ok() {
            // Who is refused is told so before it has sent all.
            let told = tokio::time::timeout(TRICKLE, client.head()).await;
            if let Ok(answer) = told {
                field.note(answer.map(|head| head.status));
                break;
            }
            sent = client.send("x").await;
        }
        if sent.is_err() {
            field.count(CLOSED);
        }
    }
}

async fn stall(field: Arc<Field>) {
    while field.goes_on() {
        let Some(mut client) = field.connect().await else { continue };
        if field.begin(&mut client, Request::get(&field.content)).await == Some(200) {
            field.rest().await;
        }
    }
}

/// 4 GiB, as fast as it is taken.
async fn large(field: Arc<Field>) {
    while field.goes_on() {
        let Some(mut client) = field.connect().await else { continue };
        let request = Request::new("POST", "/v1/files?name=large")
            .field("x-forwarded-for", forged())
            .field("content-length", (4_u64 << 30).to_string());
        let (block, mut sent) = (block(), client.request(&request).await);
        let mut left = (4_u64 << 30) / block.len() as u64;
        while left > 0 && field.goes_on() && sent.is_ok() {
            sent = client.send(&block).await;
            left -= 1;
        }
        if sent.is_err() || left == 0 {
            field.note(client.head().await.map(|head| head.status));
        } else {
            let _ = client.reset();
        }
    }
}

async fn abort_upload(field: Arc<Field>) {
    while field.goes_on() {
        let Some(mut client) = field.connect().await else { continue };
        let request = Request::new("POST", "/v1/files?name=aborted")
            .field("x-forwarded-for", forged())
            .field("content-length", LARGE.to_string())
            .body([block(), block()].concat());
        if client.request(&request).await.is_err() {
            field.note(client.head().await.map(|head| head.status));
        }
        let _ = client.reset();
    }
}

async fn abort_download(field: Arc<Field>) {
    while field.goes_on() {
        let Some(mut client) = field.connect().await else { continue };
        if field.begin(&mut client, Request::get(&field.content)).await == Some(200) {
            let _ = client.read(100_000).await;
        }
        let _ = client.reset();
    }
}

async fn export(field: Arc<Field>) {
    while field.goes_on() {
        let Some(mut client) = field.connect().await else { continue };
        let request = Request::get("/v1/files/export").field("accept-encoding", "gzip");
        if field.begin(&mut client, request).await == Some(200) {
            field.rest().await;
        }
    }
}

async fn json(field: Arc<Field>) {
    let bombs = [
        format!("{}1{}", "[".repeat(2000), "]".repeat(2000)),
        format!("{{\"name\":{}", "{\"name\":".repeat(500)),
        format!("{{\"name\":\"{}\"}}", "\\u0041".repeat(600)),
        format!("{{\"name\":1e{}}}", "9".repeat(4000)),
        format!("{{{}\"name\":1}}", "\"a\":1,".repeat(600)),
        "[".repeat(1 << 20),
    ];
    for bomb in bombs.iter().cycle() {
        if !field.goes_on() {
            break;
        }
        field.ask(Request::patch(&field.record, bomb.as_str())).await;
    }
}

async fn form(field: Arc<Field>) {
    let part = "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n";
    let many = part.repeat(5000);
    let head = format!("--X\r\nContent-Disposition: form-data; name=\"{}", "a".repeat(1 << 20));
    let nothing = "--X\r\n".repeat(10_000);
    for body in [&many, &head, &nothing].into_iter().cycle() {
        if !field.goes_on() {
            break;
        }
        let request = Request::post("/v1/files", body.as_str());
        field.ask(request.field("content-type", "multipart/form-data; boundary=X")).await;
    }
}

async fn ranges(field: Arc<Field>) {
    let many: Vec<_> = (0..1000).map(|first| format!("{}-{}", 2 * first, 2 * first)).collect();
    let many = format!("bytes={}", many.join(","));
    while field.goes_on() {
        let Some(mut client) = field.connect().await else { continue };
        let request = Request::get(&field.content).field("range", &many);
        if field.begin(&mut client, request).await.is_some() {
            let _ = client.read(1000).await;
        }
    }
}

async fn fields(field: Arc<Field>) {
    let many = (0..5000).fold(Request::get("/v1/files"), |request, _| request.field("a", "b"));
    let long = Request::get("/v1/files").field("a", "b".repeat(1 << 20));
    let target = Request::get(format!("/v1/files?after={}", "a".repeat(1 << 20)));
    for request in [&many, &long, &target].into_iter().cycle() {
        if !field.goes_on() {
            break;
        }
        field.ask(request.clone()).await;
    }
}

async fn encoded(field: Arc<Field>) {
    while field.goes_on() {
        for request in [
            Request::post("/v1/files?name=a", vec![0x1f; 1 << 20]),
            Request::patch(&field.record, vec![0x1f; 4 << 10]),
        ] {
            field.ask(request.field("content-encoding", "gzip")).await;
        }
    }
}
