//! A clock that steps: the server's own, by a library that stands before the
//! system's. What the kernel and the database call now stays as it is.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use tests::{Client, Request, Response, Target};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::rig::Ground;

/// `clock_gettime`, with the seconds of the file CLOCK_OFFSET added to the time of
/// day; what measures durations stays as it is.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile long *offset;

__attribute__((constructor)) static void map(void) {
    int file = open(getenv("CLOCK_OFFSET"), O_RDONLY);
    void *at = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    if (at != MAP_FAILED) offset = at;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    long result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_REALTIME && offset) time->tv_sec += *offset;
    return (int) result;
}
"#;

/// Longer than any deadline, and than the age of a leftover.
const HOURS: i64 = 2 * 3600;

/// The library, built by the compiler that links Rust programs too.
fn build(folder: &Path) -> std::path::PathBuf {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    fs::write(&source, CLOCK).unwrap();
    let mut cc = Command::new("cc");
    let status = cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).status();
    assert!(status.unwrap().success(), "cc");
    library
}

/// Sets it by so many seconds from the true time.
fn step(file: &Path, seconds: i64) {
    // In place: the server has the file mapped.
    use std::os::unix::fs::FileExt as _;
    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
}

fn date(answer: &Response, field: &str) -> SystemTime {
    httpdate::parse_http_date(answer.field(field).unwrap()).unwrap()
}

/// Downloads a file, and says when that was by the clock that the server sees. (The
/// answer's Date does not tell: hyper keeps the latest that it has seen. Nor do ids:
/// within a process they only grow.)
async fn downloaded_at(client: &mut Client, path: &str) -> OffsetDateTime {
    client.exchange(&Request::get(format!("{path}/content"))).await.unwrap();
    for _ in 0..1_000 {
        let stats = client.exchange(&Request::get(format!("{path}/stats"))).await.unwrap();
        let stats: serde_json::Value = serde_json::from_slice(&stats.body).unwrap();
        if let Some(at) = stats["last_downloaded_at"].as_str() {
            return OffsetDateTime::parse(at, &Rfc3339).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the download is not counted");
}

/// A connection that is there before each step, and after.
struct Witness {
    client: Client,
    upload: Client,
}

impl Witness {
    async fn of(server: &Target) -> Self {
        let mut upload = Client::connect(server.address).await.unwrap();
        upload.request(&Request::post("/v1/files?name=slow", "hello").body("hell")).await.unwrap();
        let mut client = Client::connect(server.address).await.unwrap();
        assert_eq!(client.exchange(&Request::get("/livez")).await.unwrap().status, 200);
        Self { client, upload }
    }

    /// Neither was cut off, nor is what was staged swept.
    async fn serve_on(mut self) {
        self.upload.send("o").await.unwrap();
        assert_eq!(self.upload.response(false).await.unwrap().status, 201);
        let answer = self.client.exchange(&Request::get("/readyz")).await.unwrap();
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_steps_changes_nothing() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let (ground, folder) = (Ground::new().await, tempfile::tempdir().unwrap());
    let offset = folder.path().join("offset");
    fs::write(&offset, 0_i64.to_ne_bytes()).unwrap();
    let mut command = ground.command();
    command.env("LD_PRELOAD", build(folder.path())).env("CLOCK_OFFSET", &offset);
    let server = Target::start({
        command.args(["--sweep-interval", "1s"]);
        command
    });
    let mut client = Client::connect(server.address).await.unwrap();
    let mut stored = Vec::new();
    for hours in [0, HOURS, -HOURS, 0] {
        let witness = Witness::of(&server).await;
        step(&offset, hours);
        // The sweep comes by meanwhile.
        tokio::time::sleep(Duration::from_secs(3)).await;
        witness.serve_on().await;
        let answer = client.exchange(&Request::post("/v1/files?name=a", "hello")).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        stored.push(answer.field("location").unwrap().to_owned());
        let off = downloaded_at(&mut client, &stored[stored.len() - 1]).await
            - OffsetDateTime::from(SystemTime::now());
        // Else this is no test.
        assert!((off.whole_seconds() - hours).abs() < 60, "{off} instead of {hours} s");
        let listed = client.exchange(&Request::get("/v1/files?limit=100")).await.unwrap();
        // Each file is there once, whatever order their times give.
        let files: serde_json::Value = serde_json::from_slice(&listed.body).unwrap();
        assert_eq!(files["files"].as_array().unwrap().len(), 2 * stored.len());
        for path in &stored {
            assert_eq!(listed.text().matches(path.trim_start_matches("/v1/files/")).count(), 1);
            let get = Request::get(format!("{path}/content"));
            let got = client.exchange(&get).await.unwrap();
            assert_eq!((got.status, got.text().as_str()), (200, "hello"), "{hours}: {path}");
            assert!(date(&got, "last-modified") <= date(&got, "date"), "{hours}");
        }
    }
    drop(client);
    assert!(server.stop().success());
    assert!(ground.is_whole().await);
}
