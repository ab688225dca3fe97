//! The private Postgres, for real: in a directory of its own, removed afterwards.

#![expect(clippy::unwrap_used, reason = "in the helpers: clippy.toml allows it in tests only")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use devdb::{Cluster, Error, Purpose};

/// A directory that ends with the test. In `/tmp`: short enough for a socket, and as root Postgres's
/// user must reach it.
struct Base(PathBuf);

impl Base {
    fn new(name: &str) -> Base {
        let dir = PathBuf::from(format!("/tmp/devdb-{name}-{}", std::process::id()));
        Base(dir)
    }

    fn start(&self, purpose: Purpose) -> Result<Cluster, Error> {
        Cluster::start_in(&self.0, purpose, &mut |line| eprintln!("{line}"))
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether a process runs; one that only waits to be reaped does not.
fn alive(process: &str) -> bool {
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill -0 \"$1\"", "sh", process]).stderr(Stdio::null());
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    kill.status().unwrap().success() && !stat.contains(") Z ")
}

fn postmaster(base: &Path) -> String {
    let file = fs::read_to_string(base.join("dev/data/postmaster.pid")).unwrap();
    file.lines().next().unwrap().to_owned()
}

#[test]
fn data_survives_a_restart() {
    let base = Base::new("restart");
    let cluster = base.start(Purpose::Dev).unwrap();
    cluster.create_database("a \"b\"").unwrap();
    cluster.execute("a \"b\"", "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)").unwrap();
    let data = cluster.data_dir();
    let process = postmaster(&base.0);
    assert!(alive(&process));
    cluster.stop().unwrap();
    assert!(!alive(&process), "stop waits until Postgres is gone");
    assert!(!data.join("postmaster.pid").exists(), "a clean shutdown removes it");

    let cluster = base.start(Purpose::Dev).unwrap();
    cluster.create_database("a \"b\"").expect("making it again changes nothing");
    // Division by zero if the row is gone.
    cluster.execute("a \"b\"", "SELECT 1 / count(*) FROM kept WHERE n = 7").unwrap();
    let error = cluster.execute("a \"b\"", "SELECT 1 / count(*) FROM kept WHERE n = 8");
    assert!(matches!(&error, Err(Error::Sql { code, .. }) if code == "22012"), "{error:?}");
    assert!(matches!(cluster.execute("nowhere", "SELECT 1"), Err(Error::Sql { .. })));
}

#[test]
fn a_second_start_is_refused_and_names_the_holder() {
    let base = Base::new("second");
    let cluster = base.start(Purpose::Dev).unwrap();
    let start = Instant::now();
    let error = base.start(Purpose::Dev).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5), "the holder is alive: no need to wait");
    let expected = format!(
        "Already running: process {} uses the Postgres in {1}/dev (data in {1}/dev/data)",
        std::process::id(),
        base.0.display()
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
    cluster.execute("postgres", "SELECT 1").expect("the first one is not harmed");

    let other = base.start(Purpose::Test).expect("another purpose has a cluster of its own");
    assert_ne!(other.data_dir(), cluster.data_dir());
}

#[test]
fn a_second_test_run_waits_for_the_first() {
    let base = Base::new("turns");
    let first = base.start(Purpose::Test).unwrap();
    let told = thread::scope(|scope| {
        let second = scope.spawn(|| {
            let mut told = Vec::new();
            let mut say = |line: &str| told.push(line.to_owned());
            Cluster::start_in(&base.0, Purpose::Test, &mut say).unwrap();
            told
        });
        thread::sleep(Duration::from_millis(500));
        assert!(!second.is_finished());
        first.stop().unwrap();
        second.join().unwrap()
    });
    assert!(told.iter().any(|line| line.starts_with("Waiting up to 10 s for process")), "{told:?}");
}

#[test]
fn data_of_another_major_version_is_kept_for_dev_and_remade_for_tests() {
    let base = Base::new("version");
    for purpose in [Purpose::Dev, Purpose::Test] {
        let cluster = base.start(purpose).unwrap();
        cluster.create_database("marker").unwrap();
        let version = cluster.data_dir().join("PG_VERSION");
        cluster.stop().unwrap();
        fs::write(version, "9\n").unwrap();
    }
    let message = base.start(Purpose::Dev).unwrap_err().to_string();
    assert!(message.contains("dev/data was made by Postgres 9 but"), "{message}");
    let cluster = base.start(Purpose::Test).unwrap();
    let error = cluster.execute("marker", "SELECT 1");
    assert!(matches!(&error, Err(Error::Sql { code, .. }) if code == "3D000"), "{error:?}");
}

#[test]
fn postgres_that_does_not_start_shows_the_end_of_its_log() {
    let base = Base::new("broken");
    let cluster = base.start(Purpose::Dev).unwrap();
    let settings = cluster.data_dir().join("postgresql.conf");
    cluster.stop().unwrap();
    fs::write(&settings, "no_such_setting = 1\n").unwrap();
    let message = base.start(Purpose::Dev).unwrap_err().to_string();
    assert!(message.starts_with("postgres did not start: "), "{message}");
    assert!(message.contains("no_such_setting"), "{message}");
}

/// The parent that the next test kills: this test's own program, run once more.
#[test]
#[ignore = "run by nothing_is_left_of_a_killed_parent, in a process of its own"]
fn the_parent_to_be_killed() {
    let base = std::env::var_os("DEVDB_TEST_BASE").expect("set by the test that runs this one");
    let cluster = Cluster::start_in(Path::new(&base), Purpose::Dev, &mut |_| {}).unwrap();
    cluster.create_database("app").unwrap();
    println!("\nready");
    thread::sleep(Duration::from_secs(60));
}

fn parent_to_be_killed(base: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_parent_to_be_killed", "--ignored", "--nocapture"])
        .env("DEVDB_TEST_BASE", base)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"));
    child
}

#[test]
fn nothing_is_left_of_a_killed_parent() {
    let base = Base::new("killed");
    for _ in 0..3 {
        let mut parent = parent_to_be_killed(&base.0);
        let process = postmaster(&base.0);
        assert!(alive(&process));
        parent.kill().unwrap();
        parent.wait().unwrap();

        let start = Instant::now();
        let cluster = base.start(Purpose::Dev).expect("the next start works at once");
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
        assert!(!alive(&process), "the lock is free only when the old Postgres is gone");
        cluster.execute("app", "SELECT 1").unwrap();
        cluster.stop().unwrap();
    }
}
