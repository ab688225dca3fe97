//! What a server's processes hold and use, as the kernel tells: /proc, so Linux.

use std::fs;

/// Clock ticks a second in /proc/PID/stat (USER_HZ): 100 on every Linux platform.
const TICKS: f64 = 100.0;

/// What a process and all its descendants hold and have used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Seconds of CPU, user and system.
    pub cpu: f64,
    /// The most that was resident, in bytes (`VmHWM`). Of several processes it is the sum, less
    /// what they share now, with others too (`Pss`); and no less than the largest one's.
    pub peak: u64,
    /// What is resident and no file's, in bytes (`RssAnon`).
    pub anonymous: u64,
}

impl Usage {
    /// Of the process `id` and its descendants, now.
    #[must_use]
    pub fn of(id: u32) -> Self {
        let mut usage = Self::default();
        let mut largest = 0;
        let tree = tree(id);
        for &id in &tree {
            let Some(stat) = Stat::read(id) else { continue };
            usage.cpu += stat.ticks / TICKS;
            // One that has just ended holds nothing.
            let Ok(resident) = meter::resident(id) else { continue };
            usage.peak += resident.peak;
            largest = largest.max(resident.peak);
            usage.anonymous += resident.anonymous;
        }
        if tree.len() > 1 {
            let shared = tree.iter().filter_map(|id| shared(*id)).sum();
            usage.peak = usage.peak.saturating_sub(shared).max(largest);
        }
        usage
    }
}

/// `id` and its descendants.
fn tree(id: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<_> =
        ids.filter_map(|id| Stat::read(id).map(|stat| (id, stat.parent))).collect();
    let mut tree = vec![id];
    let mut next = 0;
    while let Some(parent) = tree.get(next).copied() {
        tree.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        next += 1;
    }
    tree
}

/// How much of what is resident in a process is others' as well: `Rss` less `Pss`, in which a
/// page counts for each by its share. In bytes.
fn shared(id: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
    let number = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    Some(number("Rss:")?.saturating_sub(number("Pss:")?) * 1024)
}

struct Stat {
    parent: u32,
    // Of itself, and of its children that have ended and were waited for.
    ticks: f64,
}

impl Stat {
    fn read(id: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name, in parentheses, may have anything in it.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u32>().ok();
        let ticks: Option<u32> = (11..=14).map(number).sum();
        Some(Self { parent: number(1)?, ticks: f64::from(ticks?) })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A shell that runs `script`, once it has said something.
    fn shell(script: &str) -> Child {
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        shell.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        shell
    }

    #[test]
    fn a_process_and_its_child_are_counted_and_what_they_share_once() {
        // The child, and then the shell, end with what they read.
        let mut parent = shell("sh -c 'echo begun; read wait'; true");
        let tree = tree(parent.id());
        let [own, child] = tree[..] else { panic!("{tree:?}") };
        let [own, child] = [own, child].map(|id| meter::resident(id).unwrap().peak);
        let whole = Usage::of(parent.id()).peak;
        assert!(whole >= own.max(child) && whole < own + child, "{whole} of {own} and {child}");
        drop(parent.stdin.take());
        parent.wait().unwrap();
    }

    #[test]
    fn a_child_that_has_ended_is_counted() {
        let count = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let mut parent = shell(&format!("sh -c '{count}'; echo ended; read wait"));
        let usage = Usage::of(parent.id());
        assert!(usage.cpu > 0.03, "{usage:?}");
        drop(parent.stdin.take());
        parent.wait().unwrap();
    }
}
