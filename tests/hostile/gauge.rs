//! What the plan does not know of: a neighbour in the same control group.
//!
//! Nothing that this service does is over its bounds, and the kernel would end it all
//! the same, or the neighbour. The gauge sees it come, sheds, and serves again after.

use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use meter::Group;
use tests::Target;

use crate::load::{self, connect, get};
use crate::scene::{Ground, LIMIT, metric};

/// A few samples of the gauge.
const PATIENCE: Duration = Duration::from_secs(10);

/// Until what was freed is the system's again: a percent of the limit decides here.
const CALM: Duration = Duration::from_secs(3);

/// A process that holds memory. Killed when dropped.
struct Neighbour(Child);

impl Neighbour {
    /// `dd` reads so many bytes of zeros, and nobody takes them from it.
    fn holding(group: &Group, bytes: u64) -> std::io::Result<Self> {
        let mut command = group.command("dd");
        command.args(["if=/dev/zero", "count=1", &format!("bs={bytes}")]);
        Ok(Self(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn sheds_for_a_neighbour_and_survives() -> Result<(), Failed> {
    let group = match Group::create(LIMIT) {
        Ok(group) => group,
        Err(error) => {
            println!("not run: no control group ({error})");
            return Ok(());
        }
    };
    let ground = Ground::prepare();
    let mut target = Target::start(ground.command(Some(&group)));
    let address = target.address;
    let upload = || load::upload(address, 1).map(|(head, _)| head.status);
    let list = || Ok::<_, Failed>(get(&mut connect(address)?, "/v1/files")?.0.status);
    assert_eq!((upload()?, list()?), (201, 200));

    // Up to so much of the limit, in thousandths, to which the neighbour's program adds ten;
    // what is shed then, of upload and list.
    let mut neighbours = Vec::new();
    for (thousandths, statuses) in [(925, (503, 200)), (965, (503, 503))] {
        thread::sleep(CALM);
        let charged = metric(&target, "memory_group_charged_bytes")?;
        neighbours.push(Neighbour::holding(&group, LIMIT / 1000 * thousandths - charged)?);
        eventually(|| Ok((upload()?, list()?) == statuses)).map_err(|_| {
            let pressure = metric(&target, "overload_memory_pressure").ok();
            format!("{thousandths}: {charged} B were charged, and the pressure is {pressure:?} %")
        })?;
        println!("at {} %: {statuses:?}", metric(&target, "overload_memory_pressure")?);
        load::probe(address)?;
        load::probe(target.admin.unwrap())?;
    }
    assert_eq!(target.log().iter().filter(|line| line.contains("memory is short")).count(), 2);
    drop(neighbours);
    eventually(|| Ok((upload()?, list()?) == (201, 200)))?;
    assert!(target.alive(), "the server died");
    assert_eq!(group.killed()?, 0);
    let status = target.stop();
    assert!(status.success(), "it ended with {status}");
    Ok(())
}

fn eventually(condition: impl Fn() -> Result<bool, Failed>) -> Result<(), Failed> {
    let begin = Instant::now();
    while !condition()? {
        if begin.elapsed() > PATIENCE {
            return Err("in vain".into());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
