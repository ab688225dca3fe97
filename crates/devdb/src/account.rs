//! Root: whom Postgres runs as, since it refuses to run as root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::Error;

/// In this order. `_postgres` is macOS's name. Only if none of the first two is there, `nobody`:
/// other services may share it.
const NAMES: [&str; 3] = ["postgres", "_postgres", "nobody"];

/// The user that Postgres runs as when we are root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// For root: whoever owns `dir`'s data, else `postgres`, else `nobody`.
    ///
    /// The owner comes first, also when a better user has come up since: Postgres refuses data
    /// that belongs to someone else.
    pub(crate) fn for_data_in(dir: &Path) -> Result<Account, Error> {
        let passwd = fs::read_to_string("/etc/passwd").map_err(Error::io("Reading /etc/passwd"))?;
        if let Ok(data) = fs::metadata(dir.join("data")) {
            let name = name_of(&passwd, data.uid()).unwrap_or("its owner").to_owned();
            return Ok(Account { name, uid: data.uid(), gid: data.gid() });
        }
        NAMES.iter().find_map(|name| lookup(&passwd, name)).ok_or_else(|| Error::CannotSwitch {
            user: "postgres".into(),
            source: std::io::Error::other("neither it nor 'nobody' is in /etc/passwd"),
        })
    }

    /// Becomes this user for a moment, to see whether we may: not all that are called root can.
    pub(crate) fn check(self) -> Result<Account, Error> {
        let mut nothing = Command::new("/bin/sh");
        nothing.args(["-c", ":"]).current_dir("/");
        Account::apply(Some(&self), &mut nothing);
        match nothing.status() {
            Ok(_) => Ok(self),
            Err(source) => Err(Error::CannotSwitch { user: self.name, source }),
        }
    }

    /// Makes `command` run as this user, in its group and no other.
    pub(crate) fn apply(account: Option<&Account>, command: &mut Command) {
        if let Some(account) = account {
            command.uid(account.uid).gid(account.gid);
        }
    }

    /// Tells "may not become that user" from other failures to start a program.
    pub(crate) fn explain(
        account: Option<&Account>,
        what: &str,
    ) -> impl FnOnce(std::io::Error) -> Error {
        move |source| match account {
            Some(account) => Error::CannotSwitch { user: account.name.clone(), source },
            None => Error::Io { what: what.to_owned(), source },
        }
    }
}

/// The standard library has no `geteuid`, `/proc` is on Linux only; `id` is on every Unix.
pub(crate) fn we_are_root() -> Result<bool, Error> {
    let id = Command::new("id").arg("-u").output().map_err(Error::io("Running id -u"))?;
    Ok(id.stdout.trim_ascii() == b"0")
}

/// A line of /etc/passwd: `name:password:uid:gid:…`.
fn parse(line: &str) -> Option<(&str, u32, u32)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let uid = number(fields.nth(1)?)?;
    Some((name, uid, number(fields.next()?)?))
}

/// An id; macOS writes those of `nobody` as -2.
fn number(field: &str) -> Option<u32> {
    field.parse().ok().or_else(|| field.parse().ok().map(i32::cast_unsigned))
}

fn lookup(passwd: &str, wanted: &str) -> Option<Account> {
    let (name, uid, gid) = passwd.lines().filter_map(parse).find(|entry| entry.0 == wanted)?;
    Some(Account { name: name.to_owned(), uid, gid })
}

fn name_of(passwd: &str, uid: u32) -> Option<&str> {
    Some(passwd.lines().filter_map(parse).find(|entry| entry.1 == uid)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
        # a comment\n\
        broken:x:one:2::\n\
        nobody:*:-2:-2:Unprivileged User:/var/empty:/usr/bin/false\n\
        postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash\n";

    #[test]
    fn an_account_is_read_from_passwd() {
        let found = lookup(PASSWD, "postgres");
        assert_eq!(found, Some(Account { name: "postgres".into(), uid: 101, gid: 104 }));
        assert_eq!(lookup(PASSWD, "_postgres"), None);
        assert_eq!(lookup(PASSWD, "broken"), None);
        assert_eq!(name_of(PASSWD, 101), Some("postgres"));
    }

    #[test]
    fn negative_ids_wrap() {
        let nobody = lookup(PASSWD, "nobody").unwrap();
        assert_eq!((nobody.uid, nobody.gid), (4_294_967_294, 4_294_967_294));
    }
}
