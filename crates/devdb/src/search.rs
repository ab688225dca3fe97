//! Finding the programs `postgres` and `initdb`.

use std::collections::HashSet;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::account::Account;
use crate::{Error, fetch};

/// The oldest major version that is taken: the oldest that PostgreSQL's makers still maintained
/// when this was written (2026).
const OLDEST: u32 = 14;

/// The programs of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Programs {
    /// The folder that holds them.
    pub(crate) dir: PathBuf,
    /// Their major version.
    pub(crate) major: u32,
}

/// Folders of a kind, `parent/prefix*/tail`, as packagers name them by version.
#[derive(Clone, Copy)]
pub(crate) struct Pattern {
    parent: &'static str,
    prefix: &'static str,
    tail: &'static str,
}

const PATTERNS: [Pattern; 5] = [
    // Debian, Ubuntu
    Pattern { parent: "/usr/lib/postgresql", prefix: "", tail: "bin" },
    // The PostgreSQL project's packages for Red Hat's family
    Pattern { parent: "/usr", prefix: "pgsql-", tail: "bin" },
    // Homebrew on Apple silicon, and on Intel
    Pattern { parent: "/opt/homebrew/opt", prefix: "postgresql", tail: "bin" },
    Pattern { parent: "/usr/local/opt", prefix: "postgresql", tail: "bin" },
    Pattern { parent: "/Applications/Postgres.app/Contents/Versions", prefix: "", tail: "bin" },
];

impl Pattern {
    fn folders(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.parent).into_iter().flatten().flatten();
        let named = entries.filter(|entry| {
            entry.file_name().to_str().is_some_and(|name| name.starts_with(self.prefix))
        });
        named.map(|entry| entry.path().join(self.tail)).collect()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}*/{}", self.parent, self.prefix, self.tail)
    }
}

/// Where to look. A value, so that tests can hide what this machine has.
pub(crate) struct Search<'a> {
    /// `PG_BIN_DIR`.
    pub(crate) bin_dir: Option<OsString>,
    /// Whether `DATABASE_URL` is set, for the message only: whoever looks here does not use it.
    pub(crate) database_url: bool,
    /// `PATH`.
    pub(crate) path: OsString,
    pub(crate) patterns: &'a [Pattern],
    /// Not forbidden by `PG_FETCH=0`.
    pub(crate) may_fetch: bool,
    /// Where fetched copies are kept.
    pub(crate) base: &'a Path,
    /// Whom the programs will run as.
    pub(crate) account: Option<&'a Account>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(base: &'a Path, account: Option<&'a Account>) -> Self {
        Search {
            bin_dir: env::var_os("PG_BIN_DIR").filter(|dir| !dir.is_empty()),
            database_url: env::var_os("DATABASE_URL").is_some_and(|url| !url.is_empty()),
            path: env::var_os("PATH").unwrap_or_default(),
            patterns: &PATTERNS,
            may_fetch: env::var_os("PG_FETCH").is_none_or(|value| value != "0"),
            base,
            account,
        }
    }

    /// In this order: `PG_BIN_DIR`; the programs of the major version that `wanted`, existing data,
    /// needs; the newest local ones; a copy fetched earlier; a copy fetched now.
    pub(crate) fn run(
        &self,
        wanted: Option<u32>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Programs, Error> {
        if let Some(dir) = &self.bin_dir {
            let dir = PathBuf::from(dir);
            return self.usable(&dir).map_err(|why| Error::BinDir { dir, why });
        }
        let mut passed_over = Vec::new();
        let mut check = |folders: Vec<PathBuf>| -> Vec<Programs> {
            let mut found = Vec::new();
            let mut seen = HashSet::new();
            for dir in folders {
                if !dir.join("postgres").is_file() || !seen.insert(dir.clone()) {
                    continue;
                }
                match self.usable(&dir) {
                    Ok(programs) => found.push(programs),
                    Err(why) => passed_over.push(format!("{} ({why})", dir.display())),
                }
            }
            found
        };
        let local = check(self.local());
        let fetched = check(fetch::earlier(self.base));
        if let Some(programs) = choose(&local, &fetched, wanted) {
            return Ok(programs.clone());
        }

        let reason = match self.may_fetch {
            true => match fetch::fetch(self.base, progress) {
                Ok(dir) => match self.usable(&dir) {
                    Ok(programs) => return Ok(programs),
                    Err(why) => format!("{} ({why})", dir.display()),
                },
                Err(reason) => reason,
            },
            false => "off (PG_FETCH=0)".to_owned(),
        };
        let places = self.patterns.iter().map(Pattern::to_string);
        let mut looked_at = vec![
            format!("$DATABASE_URL ({})", if self.database_url { "not used" } else { "unset" }),
            "$PG_BIN_DIR (unset)".to_owned(),
            "PATH".to_owned(),
        ];
        looked_at.extend(places);
        looked_at.extend(passed_over);
        Err(Error::NotFound { looked_at: looked_at.join(", "), fetch: reason })
    }

    fn local(&self) -> Vec<PathBuf> {
        let path = env::split_paths(&self.path).filter(|dir| dir.is_absolute()).map(|dir| {
            // Often a link into the folder that has `initdb` and the shared files beside it.
            let real = fs::canonicalize(dir.join("postgres")).ok();
            let real = real.as_deref().and_then(Path::parent);
            real.filter(|real| real.join("initdb").exists()).map_or(dir, Path::to_owned)
        });
        path.chain(self.patterns.iter().flat_map(Pattern::folders)).collect()
    }

    /// Runs `postgres --version` as the user that will run it, who may not get to it.
    fn usable(&self, dir: &Path) -> Result<Programs, String> {
        if let Some(missing) = ["postgres", "initdb"].iter().find(|name| !dir.join(name).is_file())
        {
            return Err(format!("there is no {missing} in it"));
        }
        let mut command = Command::new(dir.join("postgres"));
        command.arg("--version").current_dir("/");
        Account::apply(self.account, &mut command);
        let output = command.output().map_err(|error| match self.account {
            Some(Account { name, .. }) => format!("user '{name}' can't run it: {error}"),
            None => format!("it can't be run: {error}"),
        })?;
        let printed = String::from_utf8_lossy(&output.stdout);
        match major(&printed) {
            Some(major) if major >= OLDEST => Ok(Programs { dir: dir.to_owned(), major }),
            Some(major) => Err(format!("it is Postgres {major}, older than {OLDEST}")),
            None => {
                let complaint = String::from_utf8_lossy(&output.stderr);
                let complaint = complaint.lines().next().unwrap_or("it does not tell its version");
                Err(complaint.to_owned())
            }
        }
    }
}

fn choose<'a>(
    local: &'a [Programs],
    fetched: &'a [Programs],
    wanted: Option<u32>,
) -> Option<&'a Programs> {
    let all = || local.iter().chain(fetched);
    all().find(|programs| Some(programs.major) == wanted).or_else(|| {
        // Reversed: of equals `max_by_key` takes the last, and the first in PATH is meant.
        local.iter().rev().max_by_key(|programs| programs.major).or(fetched.first())
    })
}

/// The major version in what `postgres --version` prints, for example
/// `postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)`.
fn major(printed: &str) -> Option<u32> {
    let version = printed.split_once("(PostgreSQL) ")?.1;
    let end = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A directory of programs that only tell their version, removed at the end.
    struct Fakes(PathBuf);

    impl Fakes {
        fn new(name: &str) -> Fakes {
            let dir = env::temp_dir().join(format!("devdb-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Fakes(fs::canonicalize(dir).unwrap())
        }

        fn add(&self, folder: &str, version: &str) -> PathBuf {
            let dir = self.0.join(folder);
            fs::create_dir_all(&dir).unwrap();
            // Written by another process: a file that this one has open for writing can't be run,
            // and a test beside this one may fork just then.
            let script = r#"cd "$1"; for name in postgres initdb; do
                printf '#!/bin/sh\necho "%s (PostgreSQL) %s"\n' $name "$2" > $name; chmod 755 $name
            done"#;
            let mut sh = Command::new("sh");
            assert!(
                sh.args(["-c", script, "sh"]).arg(&dir).arg(version).status().unwrap().success()
            );
            dir
        }

        fn search(&self, path: &[&Path]) -> Search<'_> {
            Search {
                bin_dir: None,
                database_url: false,
                path: env::join_paths(path).unwrap(),
                patterns: &[],
                may_fetch: false,
                base: &self.0,
                account: None,
            }
        }
    }

    impl Drop for Fakes {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn run(search: &Search<'_>, wanted: Option<u32>) -> Result<Programs, Error> {
        search.run(wanted, &mut |_| {})
    }

    #[test]
    fn the_major_version_is_read_from_every_form() {
        assert_eq!(major("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18.6\n"), Some(18));
        assert_eq!(major("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major("postgres (PostgreSQL) 9.6.24"), Some(9));
        assert_eq!(major("mysqld 8.0"), None);
    }

    #[test]
    fn the_newest_local_one_is_taken_unless_data_wants_another() {
        let fakes = Fakes::new("newest");
        let (old, new) = (fakes.add("a", "15.3"), fakes.add("b", "17.1"));
        let search = fakes.search(&[&old, &new]);
        assert_eq!(run(&search, None).unwrap().dir, new);
        assert_eq!(run(&search, Some(15)).unwrap().dir, old);
        assert_eq!(run(&search, Some(16)).unwrap().dir, new);
    }

    #[test]
    fn links_in_path_are_followed_to_the_whole_installation() {
        let fakes = Fakes::new("links");
        let real = fakes.add("real", "18.0");
        let links = fakes.0.join("links");
        fs::create_dir(&links).unwrap();
        symlink(real.join("postgres"), links.join("postgres")).unwrap();
        assert_eq!(run(&fakes.search(&[&links]), None).unwrap().dir, real);
    }

    #[test]
    fn an_earlier_fetched_copy_comes_after_local_ones_unless_data_wants_it() {
        let fakes = Fakes::new("fetched");
        let local = fakes.add("local", "16.0");
        let folder = fetch::earlier(&fakes.0)[0].strip_prefix(&fakes.0).unwrap().to_owned();
        let fetched = fakes.add(folder.to_str().unwrap(), "18.6");
        assert_eq!(run(&fakes.search(&[&local]), None).unwrap().dir, local);
        assert_eq!(run(&fakes.search(&[&local]), Some(18)).unwrap().dir, fetched);
        assert_eq!(run(&fakes.search(&[]), None).unwrap().dir, fetched);
    }

    #[test]
    fn pg_bin_dir_is_taken_or_refused_never_passed_over() {
        let fakes = Fakes::new("bindir");
        let (old, new) = (fakes.add("a", "14.0"), fakes.add("b", "17.1"));
        let mut search = fakes.search(&[&new]);
        search.bin_dir = Some(old.clone().into());
        assert_eq!(run(&search, Some(17)).unwrap().dir, old);
        search.bin_dir = Some(fakes.0.join("nowhere").into());
        let message = run(&search, None).unwrap_err().to_string();
        assert!(message.contains("nowhere, but there is no postgres in it"), "{message}");
    }

    #[test]
    fn with_nothing_found_every_place_is_named() {
        let fakes = Fakes::new("nothing");
        let ancient = fakes.add("ancient", "9.6.24");
        let patterns = [Pattern { parent: "/nonexistent", prefix: "pgsql-", tail: "bin" }];
        let mut search = fakes.search(&[&ancient]);
        search.patterns = &patterns;
        let message = run(&search, None).unwrap_err().to_string();
        for part in [
            "$DATABASE_URL (unset), $PG_BIN_DIR (unset), PATH, /nonexistent/pgsql-*/bin",
            "it is Postgres 9, older than 14",
            "fetch: off (PG_FETCH=0)",
            "apt-get install postgresql",
        ] {
            assert!(message.contains(part), "{part} in {message}");
        }
    }
}
