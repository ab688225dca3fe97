//! A Postgres that a test may stop, stall and start again.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use devdb::{Cluster, Purpose};

/// The database of the test.
const DATABASE: &str = "app";

/// A private Postgres. Its data goes with it.
#[derive(Debug)]
pub struct Postgres {
    cluster: Option<Cluster>,
    base: PathBuf,
}

impl Postgres {
    /// Starts one, named after the test.
    ///
    /// # Panics
    /// Where it does not start.
    #[must_use]
    pub fn start(name: &str) -> Self {
        // Short enough for a socket, and where Postgres's user may go.
        let base = PathBuf::from(format!("/tmp/test-{name}-{}", std::process::id()));
        let mut postgres = Self { cluster: None, base };
        postgres.start_again();
        postgres.cluster().create_database(DATABASE).unwrap();
        postgres
    }

    /// The URL of its database.
    ///
    /// # Panics
    /// Where it was stopped.
    #[must_use]
    pub fn url(&self) -> String {
        self.cluster().url(DATABASE)
    }

    /// Shuts it down: its connections are closed, its socket is gone.
    ///
    /// # Panics
    /// Where it does not end.
    pub fn stop(&mut self) {
        self.cluster.take().unwrap().stop().unwrap();
    }

    /// Starts it with what is in it.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start_again(&mut self) {
        let started = Cluster::start_in(&self.base, Purpose::Dev, &mut |_| {});
        self.cluster = Some(started.unwrap());
    }

    /// Stops the clock for all of its processes: they take connections and bytes,
    /// and answer nothing.
    ///
    /// # Panics
    /// Where the system can't.
    #[must_use]
    pub fn stall(&self) -> Stalled {
        let file = self.cluster().data_dir().join("postmaster.pid");
        let text = fs::read_to_string(file).unwrap();
        let postmaster = text.lines().next().unwrap().to_owned();
        // First of all the one that would start others.
        signal("STOP", std::slice::from_ref(&postmaster));
        let mut processes = children(&postmaster);
        signal("STOP", &processes);
        processes.push(postmaster);
        Stalled(processes)
    }

    fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().expect("it runs")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.cluster.take());
        let _ = fs::remove_dir_all(&self.base);
    }
}

/// Processes that stand still. They go on when it is dropped.
#[derive(Debug)]
pub struct Stalled(Vec<String>);

impl Drop for Stalled {
    fn drop(&mut self) {
        signal("CONT", &self.0);
    }
}

fn signal(name: &str, processes: &[String]) {
    assert!(Command::new("kill").args(["-s", name]).args(processes).status().unwrap().success());
}

/// The processes whose parent is `process`, on Linux.
fn children(process: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().map_while(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_child = |id: &String| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // After the name, which may hold anything: state, parent.
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
        parent == Some(process)
    };
    names.filter(|name| name.parse::<u32>().is_ok()).filter(is_child).collect()
}
