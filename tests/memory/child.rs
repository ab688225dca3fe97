//! One variant of a case in a process of its own.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use devdb::{EndSignal, Leash};
use meter::{Report, Run};
use server::log_line::{LogLine, Members};

use crate::cases::{self, Case};

/// What takes longer hangs: the slowest case takes under a minute.
const DEADLINE: Duration = Duration::from_secs(600);

/// Which of a case's two.
#[derive(Clone, Copy)]
pub enum Variant {
    Pattern,
    Twin,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pattern => "pattern",
            Self::Twin => "twin",
        })
    }
}

/// The child's side: measures, and prints its report as JSON on stdout.
pub fn main(arguments: &[String]) -> ExitCode {
    match measure(arguments) {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &[String]) -> Result<String> {
    let [name, variant, profile @ ..] = arguments else {
        bail!("usage: memory child CASE pattern|twin");
    };
    let case = cases::find(name).with_context(|| format!("no case is named {name}"))?;
    // Log lines cost what they cost in production, and go nowhere.
    let log = tracing_subscriber::fmt().fmt_fields(Members).event_format(LogLine);
    log.with_writer(std::io::sink).init();
    let variant = match variant.as_str() {
        "pattern" => case.pattern,
        "twin" => case.twin,
        _ => bail!("no variant is named {variant}: pattern, or twin"),
    };
    let report = match profile {
        [] => variant()?,
        #[cfg(feature = "explain")]
        [file] => crate::explain::under(file.as_ref(), variant)??,
        _ => bail!("a profile takes the feature explain, and one file"),
    };
    Ok(serde_json::to_string(&report)?)
}

/// What is told of a variant while it is at work.
pub enum Progress {
    Begins,
    Measured(Duration),
    Failed(Duration),
}

/// The parent's side: runs both variants of a case, one after the other.
pub fn run(case: &Case, mut progress: impl FnMut(&Case, Variant, Progress)) -> Run {
    let variant = |variant: Variant| {
        progress(case, variant, Progress::Begins);
        let begin = Instant::now();
        let result = spawn(case.name, variant, None).map_err(|error| format!("{error:#}"));
        let end = if result.is_ok() { Progress::Measured } else { Progress::Failed };
        progress(case, variant, end(begin.elapsed()));
        result
    };
    let [pattern, twin] = [Variant::Pattern, Variant::Twin].map(variant);
    Run { case: case.name.to_owned(), pattern, twin }
}

/// Starts the child and waits for its report. With `profile`, it writes its heap
/// profile there.
pub fn spawn(case: &str, variant: Variant, profile: Option<&Path>) -> Result<Report> {
    let mut child = Leash::spawn(EndSignal::Terminate, program()?, |command| {
        command.args(["child", case, &variant.to_string()]).args(profile);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // The service takes settings from the environment: only its defaults,
        // and what the case says, are measured.
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| is_kept(name)));
    })?;
    let stdout = drain(child.stdout().context("no stdout")?);
    let stderr = drain(child.stderr().context("no stderr")?);
    let status = child.wait_for(DEADLINE)?;
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    let [stdout, stderr] = [stdout, stderr].map(|reader| reader.join().unwrap_or_default());
    let status = status.with_context(|| format!("not done within {} s", DEADLINE.as_secs()))?;
    if status.success() {
        return serde_json::from_str(&stdout).context("its report is not readable");
    }
    bail!("{status}: {}", stderr.lines().last().unwrap_or("no message"))
}

/// This program as it runs, though a build may have put another in its file's place.
pub fn program() -> io::Result<PathBuf> {
    let running = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    if running.exists() { Ok(running) } else { std::env::current_exe() }
}

fn is_kept(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    ["DATABASE_URL", "SERVER_BIN", "HOME", "PATH", "TMPDIR", "RUST_BACKTRACE"].contains(&&*name)
        || name.starts_with("PG")
}

fn drain(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        // What came before an error is still worth telling.
        let _ = pipe.read_to_string(&mut text);
        text
    })
}
