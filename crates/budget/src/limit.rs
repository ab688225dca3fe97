//! How much memory this process may use.
//!
//! On Linux the least limit of all the control groups that it is in, from its
//! own up to the root: a nested group is bound by its parents. Version 1 and 2,
//! inside a container or not. Where nobody has set one, a quarter of the machine's
//! memory: others are at home there too, and the page cache is what serves content.
//! Where the system does not say how much that is (not Linux): [`DEFAULT`].

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Version 1 says "no limit" with a number near 2^63.
const UNLIMITED: u64 = 1 << 60;

/// The limit where nothing is known of one, in bytes: what the service was measured in.
pub const DEFAULT: u64 = 64 << 20;

/// What part of a machine without a limit is planned for: one of so many.
const SHARE: u64 = 4;

/// A limit, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// In bytes.
    pub bytes: u64,
    /// Who says so.
    pub source: Source,
}

/// Who set a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration.
    Configured,
    /// Nobody yet: it is tried on.
    Tried,
    /// A control group: `memory.max` or `memory.high` (v2, which stops or slows down who
    /// is above), or `memory.limit_in_bytes` (v1).
    ControlGroup,
    /// Nobody: it is a quarter of the machine's memory.
    Machine,
    /// Nobody, and nothing is known of the machine: [`DEFAULT`].
    Default,
}

impl Limit {
    /// Whether it was configured above what a control group, as `detected`, lets: that is
    /// where the kernel stops the process all the same.
    #[must_use]
    pub fn is_beyond(self, detected: Self) -> bool {
        self.source == Source::Configured
            && detected.source == Source::ControlGroup
            && self.bytes > detected.bytes
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configured => "MEMORY_LIMIT",
            Self::Tried => "--limit",
            Self::ControlGroup => "the control group",
            Self::Machine => "a quarter of the machine's memory",
            Self::Default => "default",
        })
    }
}

/// The limit of this process.
#[must_use]
pub fn detect() -> Limit {
    detect_below(Path::new("/"))
}

fn detect_below(root: &Path) -> Limit {
    let group = group_below(root).map(|group| group.limit);
    let (bytes, source) = match (group, machine(root)) {
        // A group may be given more than there is.
        (Some(group), machine) => {
            (machine.map_or(group, |all| all.min(group)), Source::ControlGroup)
        }
        (None, Some(machine)) => (machine / SHARE, Source::Machine),
        (None, None) => (DEFAULT, Source::Default),
    };
    Limit { bytes, source }
}

fn machine(root: &Path) -> Option<u64> {
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// A control group that has a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// In bytes.
    pub limit: u64,
    /// Where its files are.
    pub folder: PathBuf,
    /// Which names they have.
    pub version: Version,
}

/// Of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// The group whose limit is the least of all that this process is in.
pub(crate) fn group_below(root: &Path) -> Option<Group> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    groups
        .lines()
        .filter_map(|line| {
            // hierarchy:controllers:path; no controllers in version 2
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let version = match controllers {
                "" => Version::Two,
                list if list.split(',').any(|name| name == "memory") => Version::One,
                _ => return None,
            };
            least_of_chain(root, &mounts, version, path)
        })
        .reduce(lesser)
}

/// The second where both are the same: on the way up it is charged for the first too.
fn lesser(one: Group, other: Group) -> Group {
    if one.limit < other.limit { one } else { other }
}

/// The group of the least limit from that at `path` up to where its hierarchy is
/// mounted.
fn least_of_chain(root: &Path, mounts: &str, version: Version, path: &str) -> Option<Group> {
    let (kind, files) = match version {
        // The second tells of parents that a container can't see.
        Version::One => ("cgroup", ["memory.limit_in_bytes", "memory.stat"]),
        Version::Two => ("cgroup2", ["memory.max", "memory.high"]),
    };
    let (mount_root, mount_point) = mounts.lines().find_map(|line| mount(line, kind))?;
    // In a container, the mount may show the group itself as its root.
    let path = Path::new(path);
    let below = path.strip_prefix(mount_root).or_else(|_| path.strip_prefix("/")).ok()?;
    let top = root.join(mount_point.strip_prefix("/").ok()?);
    let chain = below.ancestors().map(|group| top.join(group)).filter_map(|folder| {
        let limit = files.iter().filter_map(|file| read_limit(&folder.join(file))).min()?;
        Some(Group { limit, folder, version })
    });
    chain.reduce(lesser)
}

/// Root and mount point of a line of mountinfo, if it is of this kind.
fn mount<'a>(line: &'a str, kind: &str) -> Option<(&'a Path, PathBuf)> {
    let (head, tail) = line.split_once(" - ")?;
    let mut tail = tail.split(' ');
    let has_kind = tail.next()? == kind;
    let has_memory = kind == "cgroup2" || tail.nth(1)?.split(',').any(|name| name == "memory");
    let mut head = head.split(' ').skip(3);
    let (mount_root, mount_point) = (head.next()?, head.next()?);
    (has_kind && has_memory).then(|| (Path::new(mount_root), PathBuf::from(mount_point)))
}

/// A file that is a number, or has it in a line of its own.
fn read_limit(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("hierarchical_memory_limit "));
    // "max" is no number: no limit.
    let bytes: u64 = line.unwrap_or(&text).trim().parse().ok()?;
    (bytes < UNLIMITED).then_some(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A folder with these files in it.
    pub(crate) fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        1048576 kB\nMemFree: 1 kB\n");

    #[test]
    fn a_nested_group_is_bound_by_its_parent() {
        let root = tree(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/pod/app\n"),
            ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
            ("sys/fs/cgroup/pod/memory.max", "67108864\n"),
            ("sys/fs/cgroup/pod/app/memory.max", "max\n"),
        ]);
        let expected = Limit { bytes: 64 * MIB, source: Source::ControlGroup };
        assert_eq!(detect_below(root.path()), expected);
        // Above it the kernel takes memory back, and lets the process wait.
        fs::write(root.path().join("sys/fs/cgroup/pod/app/memory.high"), "50331648\n").unwrap();
        assert_eq!(detect_below(root.path()).bytes, 48 * MIB);
        fs::write(root.path().join("proc/meminfo"), "MemTotal: 32768 kB\n").unwrap();
        let expected = Limit { bytes: 32 * MIB, source: Source::ControlGroup };
        assert_eq!(detect_below(root.path()), expected, "a group of more than there is");
    }

    #[test]
    fn a_configured_limit_is_compared_with_a_groups_only() {
        let limit = |bytes, source| Limit { bytes, source };
        let configured = limit(10, Source::Configured);
        assert!(configured.is_beyond(limit(9, Source::ControlGroup)));
        assert!(!configured.is_beyond(limit(10, Source::ControlGroup)));
        assert!(!configured.is_beyond(limit(9, Source::Machine)));
        assert!(!limit(10, Source::Tried).is_beyond(limit(9, Source::ControlGroup)));
    }

    #[test]
    fn version_1_in_a_container_whose_mount_shows_its_own_group() {
        let root = tree(&[
            MEMINFO,
            ("proc/self/cgroup", "4:cpu,cpuacct:/docker/x\n3:memory:/docker/x\n0::/\n"),
            (
                "proc/self/mountinfo",
                "29 28 0:25 /docker/x /sys/fs/cgroup/cpu ro shared:1 - cgroup cgroup rw,cpu\n\
                 30 28 0:26 /docker/x /sys/fs/cgroup/memory ro shared:1 - cgroup cgroup rw,memory\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "134217728\n"),
        ]);
        assert_eq!(detect_below(root.path()).bytes, 128 * MIB);
        // A parent's, which is not mounted here.
        let stat = "cache 4096\nhierarchical_memory_limit 100663296\ntotal_cache 4096\n";
        fs::write(root.path().join("sys/fs/cgroup/memory/memory.stat"), stat).unwrap();
        assert_eq!(detect_below(root.path()).bytes, 96 * MIB);
    }

    #[test]
    fn without_a_limit_it_is_a_quarter_of_the_machine_or_the_default() {
        let root = tree(&[
            MEMINFO,
            ("proc/self/cgroup", "3:memory:/a\n"),
            (
                "proc/self/mountinfo",
                "30 28 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
            ),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        let expected = Limit { bytes: 256 * MIB, source: Source::Machine };
        assert_eq!(detect_below(root.path()), expected);
        let expected = Limit { bytes: DEFAULT, source: Source::Default };
        assert_eq!(detect_below(Path::new("/nowhere")), expected);
    }

    #[test]
    fn of_groups_with_one_limit_the_outermost_binds() {
        let root = tree(&[
            ("proc/self/cgroup", "0::/slice/pod/app\n"),
            ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
            ("sys/fs/cgroup/slice/memory.max", "2000\n"),
            ("sys/fs/cgroup/slice/pod/memory.max", "1000\n"),
            ("sys/fs/cgroup/slice/pod/app/memory.max", "1000\n"),
        ]);
        let folder = root.path().join("sys/fs/cgroup/slice/pod");
        let expected = Group { limit: 1000, folder, version: Version::Two };
        assert_eq!(group_below(root.path()), Some(expected));
    }
}
