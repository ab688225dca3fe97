//! The release binary in a limit, on a database and a folder of its own, and what it
//! says of itself.

use std::io;
use std::process::Command;

use budget::{Limit, Mib, Plan, Source};
use clap::Parser;
use libtest_mimic::Failed;
use meter::Group;
use serde::Deserialize;
use server::counts::Counts;
use server::plan::LoadLine;
use tests::database::Scratch;
use tests::{Target, server_binary};

use crate::load::{connect, get};

/// The limit, in bytes.
pub const LIMIT: u64 = 64 << 20;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    config: server::Config,
}

/// A database and a folder, on a disk.
pub struct Ground {
    runtime: tokio::runtime::Runtime,
    database: Option<Scratch>,
    url: String,
    pub folder: tempfile::TempDir,
}

impl Ground {
    /// On the Postgres that all tests share.
    pub fn prepare() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let database = runtime.block_on(Scratch::create()).unwrap();
        let url = database.url();
        Self::migrated(runtime, Some(database), url)
    }

    /// On a database that is the caller's.
    pub fn with(url: String) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self::migrated(runtime, None, url)
    }

    fn migrated(runtime: tokio::runtime::Runtime, database: Option<Scratch>, url: String) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut migrate = Command::new(server_binary());
        let status = migrate.arg("migrate").env("DATABASE_URL", &url).status().unwrap();
        assert!(status.success(), "migrate: {status}");
        Self { runtime, database, url, folder }
    }

    /// Records without content, so many.
    pub fn plant(&self, rows: u64) {
        let plant = async {
            let pool = storage::PgPool::connect(&self.url).await.unwrap();
            tests::rows::grow(&pool, rows).await.unwrap();
            pool.close().await;
        };
        self.runtime.block_on(plant);
    }

    /// The server, on them.
    pub fn command(&self, group: Option<&Group>) -> Command {
        let mut command = match group {
            Some(group) => group.command(server_binary()),
            None => Command::new(server_binary()),
        };
        command
            .env("DATABASE_URL", &self.url)
            .env("CONTENT_DIR", self.folder.path())
            .env("LISTEN", "127.0.0.1:0")
            .env("ADMIN_LISTEN", "127.0.0.1:0");
        command
    }

    /// How many files are staged.
    pub fn staged(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("staging")).unwrap().count()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some(database) = self.database.take() {
            let _ = self.runtime.block_on(database.drop());
        }
    }
}

/// A server at work in the limit. The group goes after its process.
pub struct Scene {
    pub target: Target,
    pub group: Option<Group>,
    pub ground: Ground,
    pub counts: Counts,
    pub plan: Plan,
}

impl Scene {
    /// With these arguments beside the defaults; what is not set is derived from the
    /// limit. Without a control group it is told the limit, and says so.
    pub fn start(ground: Ground, arguments: &[&str]) -> Self {
        Self::start_with(ground, arguments, &[])
    }

    /// With these variables too.
    pub fn start_with(ground: Ground, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_in(Group::create(LIMIT), ground, arguments, variables)
    }

    /// The same plan, with nobody to enforce it but the server itself.
    pub fn without_group(ground: Ground, arguments: &[&str]) -> Self {
        Self::start_in(Err(io::Error::other("none is wanted")), ground, arguments, &[])
    }

    fn start_in(
        group: io::Result<Group>,
        ground: Ground,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = ground.command(group.as_ref().ok());
        command.args(arguments).envs(variables.iter().copied());
        match &group {
            Ok(group) => {
                println!("in a control group (version {}) of {}", group.version(), Mib(LIMIT));
            }
            Err(error) => {
                println!("no control group ({error}): judged against MEMORY_LIMIT");
                command.env("MEMORY_LIMIT", LIMIT.to_string());
            }
        }
        let target = Target::start(command);
        let config = Cli::parse_from(["server"].iter().chain(arguments)).config;
        let limit = Limit { bytes: LIMIT, source: Source::ControlGroup };
        let LoadLine { counts, plan } = LoadLine::fit(&config, limit);
        Self { target, group: group.ok(), ground, counts, plan }
    }

    /// What it says of its plan.
    pub fn memory(&self) -> Result<Memory, Failed> {
        let (_, text) = get(&mut connect(self.target.admin.unwrap())?, "/memory")?;
        Ok(serde_json::from_str(&text)?)
    }

    /// A value on the admin listener's `/metrics`.
    pub fn metric(&self, name: &str) -> Result<u64, Failed> {
        metric(&self.target, name)
    }

    /// What the kernel holds for its sockets, in bytes. None where nobody tells.
    pub fn sockets(&self) -> Option<u64> {
        match &self.group {
            Some(group) => Some(group.sockets().unwrap()),
            None => self.target.sockets(),
        }
    }
}

/// A value on the admin listener's `/metrics`.
pub fn metric(target: &Target, name: &str) -> Result<u64, Failed> {
    let (_, text) = get(&mut connect(target.admin.unwrap())?, "/metrics")?;
    value(&text, name)
}

/// The one with this name, of the text of `/metrics`.
pub fn value(text: &str, name: &str) -> Result<u64, Failed> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.ok_or_else(|| format!("no {name} in {text}"))?.parse()?)
}

/// `/memory` on the admin listener.
#[derive(Clone, Debug, Deserialize)]
pub struct Memory {
    pub terms: Vec<Used>,
}

/// A term of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Used {
    pub name: String,
    pub count: u64,
    pub in_use: u64,
    pub kind: String,
    pub bytes: u64,
    pub bytes_in_use: u64,
}

impl Memory {
    pub fn of(&self, name: &str) -> &Used {
        let term = self.terms.iter().find(|term| term.name == name);
        term.unwrap_or_else(|| panic!("no term {name}"))
    }

    /// What may be in use, of the process or of the kernel, in bytes of memory.
    pub fn in_use(&self, kernel: bool) -> u64 {
        let is = |term: &&Used| (term.kind == "kernel") == kernel;
        self.terms.iter().filter(is).map(|term| term.bytes_in_use).sum()
    }
}
