//! Rounds: in each, every server has its turn, started afresh; so a machine that is
//! slow for a while is slow for all. What is told is the median, and the spread.

use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use crate::ground::Ground;
use crate::peers::Peer;
use crate::scenarios::least::{self, LONGEST, within};
use crate::scenarios::{Scenario, Unit, Work};

const GIB: f64 = (1 << 30) as f64;
const MIB: f64 = (1 << 20) as f64;

/// A server in one round.
#[derive(Clone, Debug, Default)]
struct Turn {
    speed: f64,
    cpu: f64,
    peak: f64,
    held: f64,
    p50: f64,
    p99: f64,
}

/// A server in all rounds of a scenario.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    pub peer: &'static str,
    /// MiB a second, or requests a second.
    pub speed: f64,
    /// To the reference in the same round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// The lowest and the highest ratio of a round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratios: Option<[f64; 2]>,
    /// From the slowest round to the fastest, as a share of the median.
    pub spread: f64,
    /// Seconds a GiB, or microseconds a request.
    pub cpu: f64,
    /// The most that was resident, in bytes.
    pub peak: f64,
    /// Bytes a connection, or of the least limit; see [`Work::held`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<f64>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<[f64; 2]>,
    /// Why there are no figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A scenario, done.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub scenario: &'static str,
    pub about: &'static str,
    #[serde(skip)]
    pub unit: Unit,
    pub reference: &'static str,
    pub rows: Vec<Row>,
}

/// Runs one scenario with all who can do it.
pub fn run(
    scenario: &Scenario,
    peers: &[&'static Peer],
    ground: &Ground,
    rounds: usize,
    progress: impl Fn(&str),
) -> Result<Outcome> {
    let mut turns: Vec<Vec<Result<Turn, String>>> = vec![Vec::new(); peers.len()];
    for round in 0..rounds {
        for index in order(round, peers.len()) {
            let result = turn(scenario, peers[index], ground);
            ground.sweep()?;
            let Some(result) = result.map_err(|error| format!("{error:#}")).transpose() else {
                continue;
            };
            let state = result.as_ref().map_or_else(String::clone, |turn| told(scenario, turn));
            progress(&format!("{} {}: {state}", scenario.name, peers[index].name));
            turns[index].push(result);
        }
    }
    let reference = peers.iter().position(|peer| peer.name == scenario.reference);
    let reference = reference.map(|index| turns[index].clone()).unwrap_or_default();
    let rows = peers.iter().zip(&turns).filter(|(_, turns)| !turns.is_empty());
    let rows = rows.map(|(peer, turns)| row(scenario, peer.name, turns, &reference)).collect();
    let Scenario { name, about, unit, reference, .. } = *scenario;
    Ok(Outcome { scenario: name, about, unit, reference, rows })
}

/// Whose turn it is, of so many in a round: nobody is always the first, or always after the
/// same one.
fn order(round: usize, count: usize) -> impl Iterator<Item = usize> {
    let places = (0..count).map(move |place| (place + round) % count);
    places.map(move |place| if round.is_multiple_of(2) { place } else { count - 1 - place })
}

/// None where the server can't do it.
fn turn(scenario: &Scenario, peer: &Peer, ground: &Ground) -> Result<Option<Turn>> {
    let server = (peer.start)(ground)?;
    if !(scenario.can)(&server.routes) {
        return Ok(None);
    }
    if scenario.unit == Unit::Least {
        drop(server);
        return least(scenario, peer, ground).map(Some);
    }
    if let Some(warm) = scenario.warm {
        warm(&server, ground)?;
    }
    let before = server.usage();
    let begin = Instant::now();
    let Work { amount, mut latencies, held } = (scenario.run)(&server, ground)?;
    let seconds = begin.elapsed().as_secs_f64();
    let after = server.usage();
    latencies.sort_by(f64::total_cmp);
    let cpu = after.cpu - before.cpu;
    let (speed, cpu) = match scenario.unit {
        Unit::Transfer => (amount / MIB / seconds, cpu / (amount / GIB)),
        Unit::Requests => (amount / seconds, cpu * 1e6 / amount),
        Unit::Held | Unit::Least => (0.0, 0.0),
    };
    Ok(Some(Turn {
        speed,
        cpu,
        peak: after.peak as f64,
        held: held.unwrap_or(0.0),
        p50: at(&latencies, 50),
        p99: at(&latencies, 99),
    }))
}

/// The least memory in which it works.
fn least(scenario: &Scenario, peer: &Peer, ground: &Ground) -> Result<Turn> {
    let mut peak = 0;
    let held = least::least(|limit| {
        let (ground, group) = ground.limited(limit)?;
        let Ok(server) = (peer.start)(&ground) else { return Ok(false) };
        let work = || (scenario.run)(&server, &ground);
        let result = within(LONGEST, || server.kill(), work);
        let used = server.usage().peak;
        ground.sweep()?;
        let works = result.is_ok() && group.killed()? == 0;
        if works {
            peak = used;
        }
        Ok(works)
    })?;
    let held = held.map_or(f64::INFINITY, |held| held as f64);
    Ok(Turn { held, peak: peak as f64, ..Turn::default() })
}

fn row(
    scenario: &Scenario,
    peer: &'static str,
    turns: &[Result<Turn, String>],
    reference: &[Result<Turn, String>],
) -> Row {
    if let Some(Err(error)) = turns.iter().find(|turn| turn.is_err()) {
        return Row { peer, error: Some(error.clone()), ..Row::default() };
    }
    let of = |figure: fn(&Turn) -> f64| median(turns.iter().flatten().map(figure));
    let pairs = turns.iter().zip(reference);
    let ratios: Vec<_> = pairs
        .filter_map(|(turn, reference)| {
            Some(turn.as_ref().ok()?.speed / reference.as_ref().ok()?.speed)
        })
        .collect();
    let [least, most] = range(turns.iter().flatten().map(|turn| turn.speed));
    let is_held = matches!(scenario.unit, Unit::Held | Unit::Least);
    let speed = of(|turn| turn.speed);
    Row {
        peer,
        speed,
        ratio: (!is_held && !ratios.is_empty()).then(|| median(ratios.iter().copied())),
        ratios: (!is_held && !ratios.is_empty()).then(|| range(ratios)),
        spread: if speed > 0.0 { (most - least) / speed } else { 0.0 },
        cpu: of(|turn| turn.cpu),
        peak: of(|turn| turn.peak),
        held: is_held.then(|| of(|turn| turn.held)),
        latency: turns
            .iter()
            .flatten()
            .all(|turn| turn.p99 > 0.0)
            .then(|| [of(|turn| turn.p50), of(|turn| turn.p99)]),
        error: None,
    }
}

fn told(scenario: &Scenario, turn: &Turn) -> String {
    match scenario.unit {
        Unit::Transfer => format!("{:.0} MiB/s", turn.speed),
        Unit::Requests => format!("{:.0} a second", turn.speed),
        Unit::Held | Unit::Least => held(turn.held),
    }
}

/// What a connection holds, or the least limit, for a person.
pub fn held(bytes: f64) -> String {
    match bytes {
        bytes if bytes.is_nan() => "none: the server closes it".to_owned(),
        bytes if bytes.is_infinite() => "more than 1 GiB".to_owned(),
        bytes => meter::figure::bytes(bytes),
    }
}

/// The least and the greatest.
fn range(values: impl IntoIterator<Item = f64>) -> [f64; 2] {
    let ends = [f64::INFINITY, f64::NEG_INFINITY];
    values.into_iter().fold(ends, |[least, most], value| [least.min(value), most.max(value)])
}

/// The value below which so many in a hundred are; of sorted values.
fn at(sorted: &[f64], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(0.0)
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    // Of an even number, half-way between the two in the middle: either would be a best case.
    match (values.get((values.len().max(1) - 1) / 2), values.get(values.len() / 2)) {
        (Some(low), Some(high)) => low.midpoint(*high),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let close = |median: f64, to: f64| (median - to).abs() < f64::EPSILON;
        assert!(close(median([5.0]), 5.0));
        assert!(close(median([3.0, 1.0]), 2.0));
        assert!(close(median([3.0, 1.0, 2.0]), 2.0));
        assert!(close(median([8.0, 1.0, 2.0, 4.0]), 3.0));
    }

    #[test]
    fn each_has_a_turn_and_comes_after_another_in_the_next_round() {
        let orders = [0, 1].map(|round| order(round, 5).collect::<Vec<_>>());
        for order in &orders {
            assert!((0..5).all(|peer| order.contains(&peer)), "{order:?}");
        }
        let pairs = orders.map(|order| order.windows(2).map(<[_]>::to_vec).collect::<Vec<_>>());
        assert!(pairs[0].iter().all(|pair| !pairs[1].contains(pair)), "{pairs:?}");
    }

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        let scenario = &crate::scenarios::ALL[0];
        let turns = |speeds: [f64; 3]| speeds.map(|speed| Ok(Turn { speed, ..Turn::default() }));
        // The machine was twice as fast in the last round, for both.
        let row = row(scenario, "x", &turns([50.0, 60.0, 100.0]), &turns([100.0, 100.0, 200.0]));
        assert_eq!((row.ratio, row.ratios), (Some(0.5), Some([0.5, 0.6])));
    }
}
