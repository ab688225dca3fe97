//! Building test binaries in the scratch tree, and running tests by name.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use devdb::{EndSignal, Leash};
use meter::{Budgets, Report};

use super::claim::{Claim, Suite};
use super::said::{Measured, Outcome, Said, figures, judged, told};
use crate::binary;
use crate::child::{self, Signals};

/// The longest that the named tests of one binary, or a memory case, may take.
const LIMIT: Duration = Duration::from_secs(420);

/// The same where a hang is what is looked for: no test that ends takes as long.
const HANG: Duration = Duration::from_secs(90);

/// The memory case that is about the server's binary.
const RESIDENT: &str = "resident";

/// What tests need to be run.
pub struct Bench<'a> {
    pub signals: &'a Signals,
    /// The scratch tree.
    pub tree: &'a Path,
    /// Where it is built, and where logs go.
    pub target: PathBuf,
    pub database: String,
    /// Where Postgres's programs are, if xtask knows.
    pub programs: Option<PathBuf>,
}

/// Binaries that were built, by target.
pub struct Built(BTreeMap<String, PathBuf>);

impl Built {
    fn server(&self) -> Option<&Path> {
        self.0.get("server").map(PathBuf::as_path)
    }
}

impl Bench<'_> {
    /// Builds what `claims` need. None where the code does not compile: the log says
    /// why.
    pub fn build(&self, claims: &[Claim], log: &Path) -> Result<Option<Built>> {
        let mut tests = BTreeSet::new();
        let (mut libs, mut server, mut released) = (BTreeSet::new(), false, false);
        for claim in claims {
            match claim {
                Claim::Memory { case, .. } => {
                    tests.insert("memory");
                    server |= case == RESIDENT;
                }
                Claim::Test { suite: Suite { package, target }, .. } if target == "lib" => {
                    libs.insert(package.as_str());
                }
                Claim::Test { suite: Suite { target, .. }, .. } => {
                    server |= target == "faults";
                    // Its plan is that of the program as it is deployed.
                    released |= target == "hostile";
                    tests.insert(target.as_str());
                }
            }
        }
        let mut built = BTreeMap::new();
        let named = tests.iter().flat_map(|test| ["--test", test]);
        let mut builds = Vec::new();
        if !tests.is_empty() {
            builds.push((["test", "--no-run"].into_iter().chain(named).collect::<Vec<_>>(), tests));
        }
        // Of all packages, for the same features each time: else all would be built twice.
        if !libs.is_empty() {
            builds.push((vec!["test", "--no-run", "--lib"], libs));
        }
        if server && !released {
            builds.push((vec!["build", "--bin", "server"], BTreeSet::from(["server"])));
        }
        if released {
            let arguments = vec!["build", "--release", "--bin", "server"];
            builds.push((arguments, BTreeSet::from(["server"])));
        }
        for (arguments, targets) in builds {
            let Some(messages) = self.cargo(&arguments, log)? else { return Ok(None) };
            for target in targets {
                let binary = binary::executable(&messages, target);
                let binary = binary.with_context(|| format!("there is no binary {target}"))?;
                let key = if arguments.contains(&"--lib") { "lib " } else { "" };
                built.insert(format!("{key}{target}"), binary);
            }
        }
        Ok(Some(Built(built)))
    }

    /// What cargo says of what it has built; None where it failed.
    fn cargo(&self, arguments: &[&str], log: &Path) -> Result<Option<String>> {
        let (reader, writer) = io::pipe()?;
        let messages = std::thread::spawn(|| io::read_to_string(reader));
        let errors = File::options().create(true).append(true).open(log)?;
        let status = child::cargo(self.signals, |cargo| {
            cargo
                .args(arguments)
                .args(["--workspace", "--message-format=json-render-diagnostics"])
                .current_dir(self.tree)
                .env("CARGO_TARGET_DIR", &self.target)
                // rustc has failed on what it had kept of the mutant before, and a mutant
                // that does not compile says nothing.
                .env("CARGO_INCREMENTAL", "0")
                .stdout(Stdio::from(writer))
                .stderr(Stdio::from(errors));
        })?;
        let messages = messages.join().unwrap_or_else(|_| Ok(String::new()))?;
        Ok(status.success().then_some(messages))
    }

    /// Runs `claims`, and tells what each said.
    pub fn run(
        &self,
        built: &Built,
        claims: &[Claim],
        hangs: bool,
        log: &Path,
    ) -> Result<BTreeMap<Claim, Said>> {
        let mut said = BTreeMap::new();
        let mut suites: BTreeMap<&Suite, Vec<&str>> = BTreeMap::new();
        let mut cases: BTreeMap<&str, Vec<Option<&str>>> = BTreeMap::new();
        for claim in claims {
            match claim {
                Claim::Memory { case, metric } => {
                    cases.entry(case).or_default().push(metric.as_deref());
                }
                Claim::Test { suite, name } => suites.entry(suite).or_default().push(name),
            }
        }
        for (case, metrics) in cases {
            let outcome = self.case(built, case, hangs, log)?;
            for metric in metrics {
                let claim =
                    Claim::Memory { case: case.to_owned(), metric: metric.map(str::to_owned) };
                said.insert(claim, judged(&outcome, metric));
            }
        }
        for (suite, names) in suites {
            let key = match suite.target.as_str() {
                "lib" => format!("lib {}", suite.package),
                target => target.to_owned(),
            };
            // libtest-mimic takes one name.
            let at_once = if suite.target == "hostile" { 1 } else { names.len() };
            for names in names.chunks(at_once) {
                let arguments = names.iter().copied().chain(["--exact"]).map(OsString::from);
                let outcome =
                    self.program(&built.0[&key], arguments, built.server(), hangs, log)?;
                for name in names {
                    let claim = Claim::Test { suite: suite.clone(), name: (*name).to_owned() };
                    said.insert(claim, told(&outcome, name));
                }
            }
        }
        Ok(said)
    }

    /// Measures the pattern of a memory case: what the twin does is the same.
    fn case(&self, built: &Built, case: &str, hangs: bool, log: &Path) -> Result<Measured> {
        let arguments = ["child", case, "pattern"].map(OsString::from);
        let outcome = self.program(&built.0["memory"], arguments, built.server(), hangs, log)?;
        if outcome.hung {
            return Ok(Measured::Hung);
        }
        let text = fs::read_to_string(self.tree.join("budgets.toml")).context("budgets.toml")?;
        let budgets = Budgets::parse(&text).context("budgets.toml")?;
        let report = match outcome.text.lines().last().map(serde_json::from_str::<Report>) {
            Some(Ok(report)) if outcome.success => report,
            _ => {
                let why = outcome.errors.lines().last().unwrap_or("it ended without a word");
                return Ok(Measured::Failed(why.to_owned()));
            }
        };
        Ok(Measured::Rows(figures(case, report, &budgets)))
    }

    fn program(
        &self,
        binary: &Path,
        arguments: impl IntoIterator<Item = OsString>,
        server: Option<&Path>,
        hangs: bool,
        log: &Path,
    ) -> Result<Outcome> {
        ensure!(!self.signals.came(), "interrupted");
        // In a group of its own: a server that it has started ends with it.
        let mut child = Leash::spawn(EndSignal::TerminateGroup, binary, |command| {
            command
                .args(arguments)
                .current_dir(self.tree.join("tests"))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                // The service takes settings from the environment: only its defaults are tested.
                .env_clear()
                .envs(env::vars_os().filter(|(name, _)| is_kept(name)))
                .env("DATABASE_URL", &self.database);
            if let Some(server) = server {
                command.env("SERVER_BIN", server);
            }
            if let Some(programs) = &self.programs {
                command.env("PG_BIN_DIR", programs);
            }
        })?;
        let out = drain(child.stdout().context("no stdout")?);
        let errors = drain(child.stderr().context("no stderr")?);
        let limit = if hangs { HANG } else { LIMIT };
        let status = child::finish_within(&mut child, self.signals, limit)?;
        let [text, errors] = [out, errors].map(|reader| reader.join().unwrap_or_default());
        let mut file = File::options().create(true).append(true).open(log)?;
        io::Write::write_all(&mut file, format!("{text}\n{errors}\n").as_bytes())?;
        let success = status.is_some_and(|status| status.success());
        Ok(Outcome { hung: status.is_none(), success, text, errors })
    }
}

fn is_kept(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    ["HOME", "PATH", "TMPDIR", "RUST_BACKTRACE"].contains(&&*name) || name.starts_with("PG")
}

fn drain(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is still worth telling.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
