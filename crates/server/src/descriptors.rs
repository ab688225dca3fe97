//! File descriptors: as many as the counts need, where the system lets it.
//!
//! A shell gives 1,024, to be raised by whoever needs more: the counts of a large limit
//! do. Without, connections would wait in the kernel instead of getting an answer.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises what this process may have open to `needed`, if it is less. Returns what it is
/// then.
#[must_use]
pub fn raise(needed: usize) -> u64 {
    let needed = u64::try_from(needed).unwrap_or(u64::MAX);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is no limit.
    let now = current.unwrap_or(u64::MAX);
    let wanted = needed.min(maximum.unwrap_or(u64::MAX));
    if wanted <= now {
        return now;
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    raised.map_or(now, |()| wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes_and_never_lowered() {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let lower = Rlimit { current: Some(200), maximum };
        setrlimit(Resource::Nofile, lower).unwrap();
        assert_eq!(raise(100), 200);
        assert_eq!(raise(201), 201);
        let most = maximum.unwrap_or(u64::MAX);
        assert_eq!(raise(usize::MAX), most);
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), most);
        setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    }
}
