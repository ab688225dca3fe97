//! How much memory this process, and its control group, use.
//!
//! The files are opened once and read again from their beginning: a sample needs
//! neither heap nor a free descriptor, both of which may be what is short.
//!
//! Of a control group, all page cache is left out, not only the inactive part as in the
//! "working set" of container tools: what is read twice is active, and a few downloads
//! of one file make it most of the group (61 of 64 MiB, of which 7 could not be given
//! back; measured). The kernel gives it back before it kills.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::gauge::{Charge, Figures};
use crate::limit::{self, Group, Version};

/// Of a control group's `memory.stat`, what is read, in bytes. All of it has 0.9 KiB in
/// version 1 and some 2 KiB in version 2; of more, the first lines count.
const STAT: usize = 4096;

/// What a number is read into, in bytes: seven of up to 20 digits, as in `statm`.
const NUMBERS: usize = 160;

/// Where to read it.
#[derive(Debug)]
pub struct Usage {
    statm: Option<File>,
    group: Option<GroupFiles>,
}

#[derive(Debug)]
struct GroupFiles {
    limit: u64,
    usage: File,
    stat: File,
    // The names of page cache's two lists in `stat`.
    cache: [&'static [u8]; 2],
}

impl Usage {
    /// Of this process, and of the control group whose limit binds it. Where a file is
    /// not there (no Linux, no limit), neither is its figure.
    #[must_use]
    pub fn open() -> Self {
        Self::open_below(Path::new("/"))
    }

    /// The same, with `/proc` and `/sys` below `root`: a tree of a test's own.
    #[must_use]
    pub fn open_below(root: &Path) -> Self {
        let statm = File::open(root.join("proc/self/statm")).ok();
        let group = limit::group_below(root).and_then(|group| GroupFiles::open(&group));
        Self { statm, group }
    }

    /// Now. The heap is not known here: only its allocator can tell.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let resident = self.statm.as_ref().and_then(resident);
        Figures {
            live_heap: None,
            resident,
            group: self.group.as_ref().and_then(GroupFiles::charge),
        }
    }
}

impl GroupFiles {
    fn open(group: &Group) -> Option<Self> {
        let (usage, cache): (_, [&'static [u8]; 2]) = match group.version {
            Version::One => {
                ("memory.usage_in_bytes", [b"total_inactive_file ", b"total_active_file "])
            }
            Version::Two => ("memory.current", [b"inactive_file ", b"active_file "]),
        };
        let open = |name| File::open(group.folder.join(name)).ok();
        Some(Self { limit: group.limit, usage: open(usage)?, stat: open("memory.stat")?, cache })
    }

    fn charge(&self) -> Option<Charge> {
        let mut buffer = [0; NUMBERS];
        let usage = number(read(&self.usage, &mut buffer)?)?;
        let mut buffer = [0; STAT];
        let stat = read(&self.stat, &mut buffer)?;
        // A line that was cut has no end.
        let lines =
            || stat.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let cache =
            self.cache.map(|name| number(lines().find_map(|line| line.strip_prefix(name))?));
        let [inactive, active] = cache;
        // Read one after the other: they need not agree.
        let bytes = usage.saturating_sub(inactive?.saturating_add(active?));
        Some(Charge { bytes, limit: self.limit })
    }
}

/// `statm`: size, resident and more, in pages.
fn resident(statm: &File) -> Option<u64> {
    let mut buffer = [0; NUMBERS];
    let pages = number(read(statm, &mut buffer)?.split(|byte| *byte == b' ').nth(1)?)?;
    Some(pages.saturating_mul(rustix::param::page_size() as u64))
}

fn read<'a>(file: &File, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let length = file.read_at(buffer, 0).ok()?;
    buffer.get(..length)
}

fn number(text: &[u8]) -> Option<u64> {
    str::from_utf8(text).ok()?.trim_ascii().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::limit::tests::tree;

    const STATM: (&str, &str) = ("proc/self/statm", "9000 25 7 1 0 8 0\n");
    const MOUNT_1: &str = "30 28 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    const MOUNT_2: &str = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

    fn pages(count: u64) -> Option<u64> {
        Some(count * rustix::param::page_size() as u64)
    }

    #[test]
    fn version_2_is_charged_without_its_page_cache() {
        let root = tree(&[
            STATM,
            ("proc/self/cgroup", "0::/pod/app\n"),
            ("proc/self/mountinfo", MOUNT_2),
            // The pod's limit binds: it is the pod that is charged, other containers included.
            ("sys/fs/cgroup/pod/memory.max", "1000\n"),
            ("sys/fs/cgroup/pod/memory.current", "900\n"),
            (
                "sys/fs/cgroup/pod/memory.stat",
                "anon 300\nworkingset_refault_file 7\ninactive_file 350\nactive_file 50\nslab 9\n",
            ),
            ("sys/fs/cgroup/pod/app/memory.max", "max\n"),
            ("sys/fs/cgroup/pod/app/memory.current", "1\n"),
            ("sys/fs/cgroup/pod/app/memory.stat", "inactive_file 0\nactive_file 0\n"),
        ]);
        let usage = Usage::open_below(root.path());
        let group = Some(Charge { bytes: 500, limit: 1000 });
        assert_eq!(usage.figures(), Figures { live_heap: None, resident: pages(25), group });

        // The next sample is of what the files say then.
        fs::write(root.path().join("sys/fs/cgroup/pod/memory.current"), "990\n").unwrap();
        fs::write(root.path().join("proc/self/statm"), "9000 26 7 1 0 8 0\n").unwrap();
        let group = Some(Charge { bytes: 590, limit: 1000 });
        assert_eq!(usage.figures(), Figures { live_heap: None, resident: pages(26), group });

        // Less than its page cache: they were read one after the other.
        fs::write(root.path().join("sys/fs/cgroup/pod/memory.current"), "390\n").unwrap();
        assert_eq!(usage.figures().group, Some(Charge { bytes: 0, limit: 1000 }));
    }

    #[test]
    fn version_1_counts_the_groups_below_it() {
        let stat =
            "inactive_file 1\nactive_file 1\ntotal_inactive_file 100\ntotal_active_file 200\n";
        let root = tree(&[
            ("proc/self/cgroup", "3:memory:/a\n"),
            ("proc/self/mountinfo", MOUNT_1),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000\n"),
            ("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "700\n"),
            ("sys/fs/cgroup/memory/a/memory.stat", stat),
        ]);
        let group = Some(Charge { bytes: 400, limit: 1000 });
        let expected = Figures { live_heap: None, resident: None, group };
        assert_eq!(Usage::open_below(root.path()).figures(), expected);
    }

    #[test]
    fn what_can_not_be_told_is_no_figure() {
        let with_stat = |stat: &str| {
            tree(&[
                ("proc/self/statm", "\n"),
                ("proc/self/cgroup", "0::/\n"),
                ("proc/self/mountinfo", MOUNT_2),
                ("sys/fs/cgroup/memory.max", "1000\n"),
                ("sys/fs/cgroup/memory.current", "700\n"),
                ("sys/fs/cgroup/memory.stat", stat),
            ])
        };
        let padding = "x 1\n".repeat(STAT / 4 - 4);
        for stat in [
            "",
            "inactive_file 1\n",
            "inactive_file 1\nactive_file x\n",
            // A number that was cut is another number.
            "inactive_file 1\nactive_file 1234",
            &format!("{padding}inactive_file 1\nactive_file 1234\n"),
        ] {
            let root = with_stat(stat);
            assert_eq!(Usage::open_below(root.path()).figures(), Figures::default(), "{stat}");
        }
        assert_eq!(Usage::open_below(Path::new("/nowhere")).figures(), Figures::default());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_a_few_pages_and_more_once_it_has_touched_them() {
        const MORE: usize = 64 << 20;
        let usage = Usage::open();
        let before = usage.figures().resident.unwrap();
        let touched = vec![1_u8; MORE];
        let after = usage.figures().resident.unwrap();
        assert!(std::hint::black_box(&touched).len() == MORE);
        assert!(before > 0 && after >= before + MORE as u64 * 9 / 10, "{before}, then {after}");
    }
}
