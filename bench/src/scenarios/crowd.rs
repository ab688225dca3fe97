//! Clients at once, each on a thread of its own.

use std::sync::Barrier;

use anyhow::{Result, anyhow};

/// A client's stack: it has its buffer on the heap.
const STACK: usize = 128 * 1024;

/// Runs `client` so often at once, from one moment on. The first error is the
/// crowd's.
pub fn crowd<T: Send>(
    count: usize,
    client: impl Fn(usize, &Barrier) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let barrier = Barrier::new(count);
    std::thread::scope(|scope| {
        let (client, barrier) = (&client, &barrier);
        let threads: Vec<_> = (0..count)
            .map(|index| {
                let builder = std::thread::Builder::new().stack_size(STACK);
                builder.spawn_scoped(scope, move || client(index, barrier))
            })
            .collect::<std::io::Result<_>>()?;
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?)
            .collect()
    })
}
