//! What a server holds while a load runs: sampled, and set against its plan.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use budget::Mib;

use crate::load::{self, connect, get};
use crate::scene::{Memory, Scene, Used, value};

/// From one sample to the next.
const INTERVAL: Duration = Duration::from_millis(100);

/// How long what was given back may still be resident: the allocator keeps it for a
/// second, and a sample of the gauge is as old as 250 ms.
const DECAY: Duration = Duration::from_secs(3);

/// What was seen at one moment. All sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Since the watch began.
    pub at: Duration,
    /// What the allocator has given and not got back.
    pub live: u64,
    /// Pages of the process in memory.
    pub resident: u64,
    /// Without those of files.
    pub anonymous: u64,
    /// What the kernel holds for sockets.
    pub sockets: u64,
    /// The plan, and what is in use of it.
    pub memory: Memory,
}

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    pub samples: Vec<Sample>,
    /// The slowest probe of the admin listener.
    pub probe: Duration,
    /// Probes of it that had no 200 for an answer.
    pub failed_probes: usize,
    /// Probes of the other listener that had none: clients may hold all its places.
    pub failed_public: usize,
}

impl Watch {
    /// Watches while `load` runs.
    pub fn during<T>(scene: &Scene, load: impl FnOnce() -> T) -> (T, Self) {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let (mut watch, begin) = (Self::default(), Instant::now());
                while !done.load(Ordering::Relaxed) {
                    watch.look(scene, begin);
                    thread::sleep(INTERVAL);
                }
                watch
            });
            // Also where the load panics, or nobody would be told.
            let finished = Finished(&done);
            let result = load();
            drop(finished);
            (result, watcher.join().unwrap())
        })
    }

    fn look(&mut self, scene: &Scene, begin: Instant) {
        match load::probe(scene.target.admin.unwrap()) {
            Ok(took) => self.probe = self.probe.max(took),
            Err(_) => self.failed_probes += 1,
        }
        self.failed_public += usize::from(load::probe(scene.target.address).is_err());
        if let Ok(sample) = sample(scene, begin) {
            self.samples.push(sample);
        } else {
            self.failed_probes += 1;
        }
    }

    /// The highest of a figure.
    pub fn most(&self, figure: impl Fn(&Sample) -> u64) -> u64 {
        self.samples.iter().map(figure).max().unwrap_or(0)
    }

    /// The highest of resident memory and sockets together.
    pub fn peak(&self) -> u64 {
        self.most(|sample| sample.resident + sample.sockets)
    }

    /// The most that the plan has for what was in use, of process and kernel.
    pub fn in_use(&self) -> u64 {
        self.most(|sample| sample.memory.in_use(false) + sample.memory.in_use(true))
    }

    /// The first term of which more was in use than there is.
    pub fn exceeded(&self) -> Option<&Used> {
        let mut terms = self.samples.iter().flat_map(|sample| &sample.memory.terms);
        terms.find(|term| term.in_use > term.count)
    }

    /// What the plan does not explain at the worst moment, in bytes: resident memory
    /// above what was in use then or within [`DECAY`] before. Sockets are judged by
    /// [`Watch::unexplained_sockets`].
    pub fn residual(&self) -> i64 {
        self.worst(|sample| sample.resident, false)
    }

    /// As [`Watch::residual`], of what the kernel holds.
    pub fn unexplained_sockets(&self) -> i64 {
        self.worst(|sample| sample.sockets, true)
    }

    fn worst(&self, held: impl Fn(&Sample) -> u64, kernel: bool) -> i64 {
        let above = |sample: &Sample| {
            let since = sample.at.saturating_sub(DECAY);
            let recent = |other: &&Sample| (since..=sample.at).contains(&other.at);
            let in_use = self.samples.iter().filter(recent);
            let in_use = in_use.map(|other| other.memory.in_use(kernel)).max().unwrap_or(0);
            held(sample).cast_signed() - in_use.cast_signed()
        };
        self.samples.iter().map(above).max().unwrap_or(0)
    }
}

/// Says that a load has ended, however it did.
struct Finished<'a>(&'a AtomicBool);

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What there is now.
pub fn sample(scene: &Scene, begin: Instant) -> Result<Sample, libtest_mimic::Failed> {
    let (_, metrics) = get(&mut connect(scene.target.admin.unwrap())?, "/metrics")?;
    let memory = scene.memory()?;
    let resident = scene.target.resident();
    Ok(Sample {
        at: begin.elapsed(),
        live: value(&metrics, "memory_live_heap_bytes")?,
        resident: resident.now,
        anonymous: resident.anonymous,
        sockets: scene.sockets().unwrap_or(0),
        memory,
    })
}

/// In MiB, with its sign.
pub fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "" };
    format!("{sign}{}", Mib(bytes.unsigned_abs()))
}
