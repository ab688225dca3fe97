//! Waiting until live bytes stop changing.
//!
//! A fixed pause does not do: after 3 ms, between 40 B and 385 KB were still on
//! their way, by what the blocking pool had left to remove.

use std::fmt;
use std::time::Duration;

use crate::counting::snapshot;

/// When a process counts as being at rest.
#[derive(Clone, Copy, Debug)]
pub struct Quiet {
    /// The time between two readings.
    pub pause: Duration,
    /// So many readings in a row must be equal.
    pub steady: u32,
    /// After so many readings, give up.
    pub readings: u32,
}

impl Default for Quiet {
    /// 10 equal readings 1 ms apart, within 5,000 (at least 5 s).
    fn default() -> Self {
        Self { pause: Duration::from_millis(1), steady: 10, readings: 5_000 }
    }
}

/// Live bytes still changed at the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotQuiet {
    /// Readings taken.
    pub readings: u32,
}

impl fmt::Display for NotQuiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "live bytes still changed after {} readings", self.readings)
    }
}

impl std::error::Error for NotQuiet {}

/// Waits until live bytes stop changing, and returns them. `sleep` is the
/// runtime's own, `tokio::time::sleep` for instance: other tasks run meanwhile.
///
/// # Errors
/// [`NotQuiet`] at the bound: something allocates or releases all the time.
pub async fn quiesce<S, F>(quiet: Quiet, sleep: S) -> Result<usize, NotQuiet>
where
    S: FnMut(Duration) -> F,
    F: Future<Output = ()>,
{
    steady(quiet, sleep, || snapshot().live).await
}

async fn steady<S, F>(
    quiet: Quiet,
    mut sleep: S,
    mut read: impl FnMut() -> usize,
) -> Result<usize, NotQuiet>
where
    S: FnMut(Duration) -> F,
    F: Future<Output = ()>,
{
    let mut last = read();
    let mut equal = 0;
    for _ in 0..quiet.readings {
        sleep(quiet.pause).await;
        let live = read();
        equal = if live == last { equal + 1 } else { 0 };
        last = live;
        if equal >= quiet.steady {
            return Ok(live);
        }
    }
    Err(NotQuiet { readings: quiet.readings })
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn run(mut readings: impl Iterator<Item = usize>) -> Result<usize, NotQuiet> {
        let quiet = Quiet { pause: Duration::ZERO, steady: 3, readings: 20 };
        let future = pin!(steady(quiet, |_| ready(()), || readings.next().unwrap()));
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => unreachable!("nothing in it waits"),
        }
    }

    #[test]
    fn rests_only_after_a_row_of_equal_readings() {
        let mut taken = 0;
        let live = [9, 9, 9, 4, 4, 2].into_iter().chain(std::iter::repeat(1));
        assert_eq!(run(live.inspect(|_| taken += 1)), Ok(1));
        assert_eq!(taken, 10);
    }

    #[test]
    fn gives_up_at_the_bound() {
        assert_eq!(run(0..), Err(NotQuiet { readings: 20 }));
    }
}
