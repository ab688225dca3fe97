//! Where data, programs and sockets are kept.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::account::Account;

/// The port is part of a socket's name; clusters differ by directory, so it is always the default.
pub(crate) const PORT: u16 = 5432;

/// The name of Postgres's socket in its directory.
pub(crate) const SOCKET: &str = ".s.PGSQL.5432";

/// Bytes in a socket's path: macOS has room for 104 with the closing zero, Linux for 108.
const SOCKET_PATH_MAX: usize = 103;

/// The directory of everything that belongs to one checkout.
///
/// An ordinary user's is the git-ignored `.dev/` of the checkout, never `target/`, which
/// `cargo clean` deletes. Root's Postgres runs as another user, who may not be able to reach the
/// checkout (below a home of mode 0700 `initdb` fails with a bare "Permission denied"); so root's
/// is in `/var/lib`. Not in `/var/tmp`: anyone can take the name there first, and files that were
/// not touched for 30 days are swept on many systems, which would eat a resting database.
pub(crate) fn base(checkout: &Path, root: bool) -> Result<PathBuf, Error> {
    let checkout = fs::canonicalize(checkout)
        .map_err(Error::io(format!("Looking up {}", checkout.display())))?;
    Ok(match root {
        true => PathBuf::from(format!("/var/lib/plimsoll-{:016x}", hash(&checkout))),
        false => checkout.join(".dev"),
    })
}

/// Makes `dir` for everyone to enter, whatever the umask: root's Postgres user must get through.
pub(crate) fn make_base(dir: &Path) -> Result<(), Error> {
    let failed = || format!("Making {}", dir.display());
    if !dir.is_dir() {
        fs::create_dir_all(dir).map_err(Error::io(failed()))?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map_err(Error::io(failed()))?;
    }
    Ok(())
}

/// Makes `dir`, mode 0700, and gives it to `account`.
pub(crate) fn make_private(dir: &Path, account: Option<&Account>) -> Result<(), Error> {
    let failed = || format!("Making {}", dir.display());
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(Error::io(failed())(error));
        }
        _ => {}
    }
    if let Some(Account { uid, gid, .. }) = account {
        chown(dir, Some(*uid), Some(*gid)).map_err(Account::explain(account, &failed()))?;
    }
    Ok(())
}

/// The socket's directory: `dir` itself, or, when its path is too long, a short one in `/tmp`.
pub(crate) fn socket_dir(dir: &Path, account: Option<&Account>) -> Result<PathBuf, Error> {
    let path = dir.join(SOCKET);
    if path.as_os_str().len() <= SOCKET_PATH_MAX {
        return Ok(dir.to_owned());
    }
    let short = PathBuf::from(format!("/tmp/plimsoll-{:016x}", hash(dir)));
    // Anyone may write to /tmp: what stands there already must be ours, and no link.
    match (fs::symlink_metadata(&short), fs::metadata(dir)) {
        (Ok(found), Ok(ours)) if !found.is_dir() || found.uid() != ours.uid() => {
            Err(Error::SocketPath { path, why: format!("{} is taken", short.display()) })
        }
        _ => make_private(&short, account).map(|()| short),
    }
}

/// FNV-1a, 64 bits: the same in every Rust release, which `DefaultHasher` does not promise.
fn hash(path: &Path) -> u64 {
    path.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        // The function's published test vectors.
        assert_eq!(hash(Path::new("")), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(Path::new("foobar")), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_socket_stays_with_the_data_where_its_path_is_short_enough() {
        let fits = SOCKET_PATH_MAX - SOCKET.len() - 1;
        let dir = PathBuf::from(format!("/{}", "x".repeat(fits - 1)));
        assert_eq!(dir.join(SOCKET).as_os_str().len(), 103);
        assert_eq!(socket_dir(&dir, None).unwrap(), dir);
    }

    #[test]
    fn a_long_path_gets_a_short_private_directory() {
        let dir = std::env::temp_dir().join(format!("{}{}", "x".repeat(90), std::process::id()));
        fs::create_dir(&dir).unwrap();
        let short = socket_dir(&dir, None).unwrap();
        let mode = fs::metadata(&short).unwrap().permissions().mode();
        assert!(short.join(SOCKET).as_os_str().len() <= SOCKET_PATH_MAX);
        assert_eq!(mode & 0o777, 0o700);

        fs::remove_dir(&short).unwrap();
        std::os::unix::fs::symlink(&dir, &short).unwrap();
        let refused = socket_dir(&dir, None);
        fs::remove_file(&short).unwrap();
        fs::remove_dir(&dir).unwrap();
        assert!(matches!(refused, Err(Error::SocketPath { .. })), "a link in /tmp is not followed");
    }

    #[test]
    fn roots_directory_is_outside_the_checkout_and_a_users_inside() {
        let checkout = std::env::temp_dir();
        let canonical = fs::canonicalize(&checkout).unwrap();
        assert_eq!(base(&checkout, false).unwrap(), canonical.join(".dev"));
        assert!(base(&checkout, true).unwrap().starts_with("/var/lib"));
    }
}
