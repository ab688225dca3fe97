//! The binary: allocator, runtime, subcommands, signals. All else is the lib.

use std::ffi::OsStr;
use std::process::ExitCode;

use anyhow::Context;
use budget::{Figures, Usage};
use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use server::plan::LoadLine;
use server::{
    Application, Config, Outcome, application, descriptors, fsck, health, show_plan, telemetry,
};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::heap::Heap;

mod heap;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[expect(unsafe_code, reason = "jemalloc finds its configuration by the symbol's name")]
// SAFETY: no other symbol has this name, and jemalloc reads it as what it is:
// a pointer to a string that ends with a zero byte.
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: &[u8; 70] = server::MALLOC_CONF;

/// What `--help` says below the settings.
const AFTER_HELP: &str = "\
What is [derived] and not set goes by the memory limit: in 64 MiB it is what is said; in more or
less, all of it grows or shrinks alike, in steps of a sixteenth, as far as the plan fits beside
what is set. What has come to its most leaves the rest to the others; with less than one step,
the service does not start. `server plan --limit 1GiB` shows what that comes to.

RUST_LOG filters the log (default: info), as in RUST_LOG=server=debug,sqlx=warn.

Exit codes: 0, requests in flight ended after SIGTERM or Ctrl-C; 3, some were cut off at
--shutdown-timeout; 1, it could not be started; 2, the command line can't be read.";

/// A file drop that knows how much memory it may use.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: Config,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Runs the service (the default)
    Serve,
    /// Brings the database up to date, and exits
    Migrate,
    /// Checks configuration, folder and database as `serve` would, and exits
    Check,
    /// Prints the memory plan, and exits: 0 if it fits
    Plan(show_plan::Flags),
    /// Compares all records with all content, and tells each disagreement in a line
    ///
    /// A record without content, or with content of another size or SHA-256; content without a
    /// record; a staged file that no upload has. What is younger than --sweep-age is left alone: the
    /// service may be at work on it, beside which this may run.
    ///
    /// Exit codes: 0, all agree (or do again, after --repair); 4, disagreements are left; 1, it
    /// could not be found out.
    Fsck(fsck::Flags),
    /// Asks the service that listens on ADMIN_LISTEN whether it is alive, and exits: 0 if it answers
    Health,
}

/// Whoever configures the token itself is not shown it, in a log perhaps.
const TOKENS: &str = "--tokens-sha256: expected 64 hexadecimal digits, with commas between several";

/// Requests in flight were cut off at the shutdown's deadline.
const CUT_OFF: u8 = 3;

/// Disagreements are left. As of fsck(8): errors left uncorrected.
const DISAGREE: u8 = 4;

fn main() -> ExitCode {
    run(parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// An empty variable counts as unset: compose files have such.
fn parse() -> Cli {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let command = Cli::command().mut_args(|argument| {
        let unset = argument.get_env().is_some_and(is_empty);
        if unset { argument.env(None) } else { argument }
    });
    let matches = command.try_get_matches().unwrap_or_else(|error| refuse(error));
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Says what is wrong, but not with a value that may be a secret.
fn refuse(error: clap::Error) -> ! {
    let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string);
    if error.kind() == ErrorKind::ValueValidation
        && argument.is_some_and(|argument| argument.starts_with("--tokens-sha256 "))
    {
        Cli::command().error(ErrorKind::ValueValidation, TOKENS).exit()
    }
    error.exit()
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { command, config } = cli;
    match command.unwrap_or(Command::Serve) {
        Command::Serve => {
            fits(&config)?;
            run_to_its_end(&config.clone(), serve(config))
        }
        Command::Migrate => run_to_its_end(&config, migrate(&config)),
        Command::Check => {
            fits(&config)?;
            run_to_its_end(&config.clone(), check(config))
        }
        Command::Plan(flags) => {
            show_plan::run(&config, flags, &mut std::io::stdout())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Fsck(flags) => {
            config.validate()?;
            let mut out = std::io::stdout();
            let summary = run_to_its_end(&config, fsck::run(&config, flags, &mut out))?;
            Ok(if summary.is_clean() { ExitCode::SUCCESS } else { DISAGREE.into() })
        }
        // No runtime: it runs beside the service, in the same memory limit.
        Command::Health => {
            health::ask(config.admin_listen)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Whether the plan fits: asked before there are the threads that it counts.
fn fits(config: &Config) -> anyhow::Result<()> {
    config.validate()?;
    Ok(LoadLine::of(config).plan.check()?)
}

/// Runs a future on a runtime of the configured threads. What still works on the
/// blocking pool then is not waited for: a disk that hangs would make it endless.
fn run_to_its_end<T>(
    config: &Config,
    future: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(config.worker_threads)
        .max_blocking_threads(config.blocking_threads)
        .enable_all()
        .build()?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    result
}

async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let _log = telemetry::start()?;
    // Before anything is listened on, so that no signal finds nobody home.
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (mut terminate_again, mut interrupt_again) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (heap, usage) = (Heap::new(), Usage::open());
    let live_heap = move || heap.and_then(Heap::live);
    let figures = move || Figures { live_heap: live_heap(), ..usage.figures() };
    let application = Application::build(config).await?.with_figures(figures);
    let (address, admin) = (application.local_addr()?, application.admin_addr()?);
    let quota = application.app.store.quota();
    tracing::info!(used = quota.used(), quota = quota.limit(), "content, in bytes");
    if quota.fits(1).is_err() {
        tracing::warn!("the quota of content is used up: uploads get 507");
    }
    show_plan::tell(&application.line.plan);
    provide(&application);
    tracing::info!(%admin, "listening on http://{address}");
    let outcome = application
        .run(either(&mut terminate, &mut interrupt), async {
            // The first signal reaches these too.
            either(&mut terminate_again, &mut interrupt_again).await;
            either(&mut terminate_again, &mut interrupt_again).await;
        })
        .await;
    Ok(match outcome {
        Outcome::Drained => ExitCode::SUCCESS,
        Outcome::CutOff(_) => CUT_OFF.into(),
    })
}

/// Descriptors for all that may be open.
fn provide(application: &Application) {
    let needed = application.descriptors();
    let available = descriptors::raise(needed);
    if available < needed as u64 {
        tracing::warn!(
            available,
            needed,
            "file descriptors (ulimit -n) are fewer than the connections and files that there may \
             be: lower --max-connections, or raise them"
        );
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

async fn migrate(config: &Config) -> anyhow::Result<ExitCode> {
    let pool = application::connect(config).await?;
    storage::migrate(&pool).await.context("the migrations could not be applied")?;
    pool.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn check(config: Config) -> anyhow::Result<ExitCode> {
    let application = Application::build(config).await?;
    application.app.store.close().await;
    application.app.pool.close().await;
    println!("ok");
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "jemalloc's settings are read by name")]
    fn jemalloc_has_read_its_configuration() {
        use tikv_jemalloc_ctl::raw::read;
        // SAFETY: the names end with a zero byte, and these are their types.
        let (background, dirty, muzzy, arenas): (bool, isize, isize, u32) = unsafe {
            (
                read(b"opt.background_thread\0").unwrap(),
                read(b"opt.dirty_decay_ms\0").unwrap(),
                read(b"opt.muzzy_decay_ms\0").unwrap(),
                read(b"opt.narenas\0").unwrap(),
            )
        };
        assert_eq!((background, dirty, muzzy, arenas), (true, 1000, 0, 2));
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
