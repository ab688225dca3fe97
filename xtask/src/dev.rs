//! `cargo xtask dev`: everything that the service needs, and the service.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context, Result};
use devdb::{Database, EndSignal, Leash, Purpose};

use crate::binary::{self, Built, Profile};
use crate::child::{self, Signals, say};

/// The database of dev, in the private Postgres.
const DATABASE: &str = "app";

/// The server's own default for `--listen`.
const LISTEN: &str = "127.0.0.1:8080";

/// As a shell tells a death by SIGINT. Only for a request that came between two steps.
const INTERRUPTED: u8 = 130;

/// How to run the service.
#[derive(clap::Args)]
pub struct Options {
    /// Build and run the release profile
    #[arg(long)]
    release: bool,
    /// Where the service listens [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Goes to the server: see `cargo run -p server -- --help`
    #[arg(last = true)]
    server: Vec<OsString>,
}

/// Returns when the service has ended, with its exit code. Postgres ends after it.
pub fn run(options: Options) -> Result<ExitCode> {
    let database = Database::open(Purpose::Dev, &child::checkout(), &mut say)?;
    let signals = Signals::catch()?;
    let code = run_on(&database, &signals, &options);
    database.stop()?;
    code
}

fn run_on(database: &Database, signals: &Signals, options: &Options) -> Result<ExitCode> {
    let profile = if options.release { Profile::Release } else { Profile::Dev };
    let binary = match binary::server(signals, profile)? {
        Built::Binary(binary) => binary,
        Built::Failed(status) => return Ok(child::exit_code(status)),
    };
    let content = match env::var_os("CONTENT_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => dir.into(),
        None => child::checkout().join(match database {
            Database::Private(_) => ".dev/content",
            Database::External(_) => ".dev/content-external",
        }),
    };
    fs::create_dir_all(&content).with_context(|| format!("making {}", content.display()))?;
    let url = database.url(DATABASE)?;
    let server = |command: &str| -> Result<ExitStatus> {
        let mut server = Leash::spawn(EndSignal::Terminate, &binary, |server| {
            server.arg(command).args(&options.server);
            server.env("DATABASE_URL", &url).env("CONTENT_DIR", &content);
            server.envs(options.listen.as_ref().map(|listen| ("LISTEN", listen)));
            // Ctrl-C reaches the terminal's process group. The server is not in it and gets one
            // request to end, from us; a second one would cut off what it still does.
            server.process_group(0);
        })
        .with_context(|| format!("{} does not start", binary.display()))?;
        child::finish(&mut server, signals)
    };

    for step in ["migrate", "plan"] {
        let status = server(step)?;
        if !status.success() {
            say(&format!("server {step}: {status}"));
            return Ok(child::exit_code(status));
        }
    }
    if signals.came() {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    tell(database, &content, options);
    server("serve").map(child::exit_code)
}

/// What a person wants to know, before the service's own log begins.
fn tell(database: &Database, content: &Path, options: &Options) {
    match database {
        Database::Private(cluster) => {
            say(&format!("data      {}", cluster.data_dir().display()));
            say(&format!("psql      {}", cluster.psql(DATABASE)));
        }
        Database::External(external) => say(&format!(
            "database  DATABASE_URL (host {}, database {})",
            external.host(),
            external.database()
        )),
    }
    say(&format!("content   {}", content.display()));
    let told_to_server = |argument: &OsString| argument.to_string_lossy().starts_with("--listen");
    if !options.server.iter().any(told_to_server) {
        let listen = options.listen.clone().or_else(|| env::var("LISTEN").ok());
        say(&format!("address   http://{}", listen.as_deref().unwrap_or(LISTEN)));
    }
}
