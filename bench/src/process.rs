//! What a server's processes hold and use, as the kernel tells: /proc, so Linux.

use std::fs;

/// Clock ticks a second in /proc/PID/stat (USER_HZ): 100 on every Linux platform.
const TICKS: f64 = 100.0;

/// What a process and all its descendants hold and have used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Seconds of CPU, user and system.
    pub cpu: f64,
    /// The most that was resident, in bytes (`VmHWM`): a sum over processes, in which
    /// pages that they share count more than once.
    pub peak: u64,
    /// What is resident and no file's, in bytes (`RssAnon`).
    pub anonymous: u64,
}

impl Usage {
    /// Of the process `id` and its descendants, now.
    #[must_use]
    pub fn of(id: u32) -> Self {
        let mut usage = Self::default();
        for id in tree(id) {
            let Some(stat) = Stat::read(id) else { continue };
            usage.cpu += stat.ticks / TICKS;
            // One that has just ended holds nothing.
            let Ok(resident) = meter::resident(id) else { continue };
            usage.peak += resident.peak;
            usage.anonymous += resident.anonymous;
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

struct Stat {
    parent: u32,
    ticks: f64,
}

impl Stat {
    fn read(id: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name, in parentheses, may have anything in it.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u32>().ok();
        Some(Self { parent: number(1)?, ticks: f64::from(number(11)?) + f64::from(number(12)?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_and_its_child_are_counted() {
        let mut child = std::process::Command::new("sleep").arg("10").spawn().unwrap();
        let own = std::process::id();
        assert!(tree(own).contains(&child.id()));
        let (whole, part) = (Usage::of(own), Usage::of(child.id()));
        assert!(part.peak > 0 && whole.peak > part.peak, "{whole:?} {part:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
