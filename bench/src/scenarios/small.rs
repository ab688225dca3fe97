//! Small answers, many of them, on connections that stay.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::crowd::crowd;
use super::{Scenario, Unit, Work};
use crate::client::Client;
use crate::server::Server;

/// A part of a file, in bytes.
const RANGE: u64 = 64 * 1024;

pub const RANGES: Scenario = Scenario {
    name: "ranges",
    about: "64 KiB anywhere in a file, 8 clients",
    unit: Unit::Requests,
    reference: "nginx",
    can: |routes| routes.ranges && routes.part.is_some(),
    warm: None,
    run: |server, ground| {
        let path = server.routes.part.as_deref().context("no such file")?;
        let requests: Vec<_> = positions(ground.part)
            .map(|from| format!("range: bytes={from}-{}\r\n", from + RANGE - 1))
            .map(|range| server.head("GET", path, &range))
            .collect();
        ask(server, 8, 1_000, &requests)
    },
};

pub const RECORD: Scenario = Scenario {
    name: "record",
    about: "a small JSON document (ours: a cached record), 32 clients",
    unit: Unit::Requests,
    reference: "axum, streamed",
    can: |routes| routes.json.is_some(),
    warm: None,
    run: |server, _| {
        let path = server.routes.json.as_deref().context("no such document")?;
        ask(server, 32, 2_000, &[server.get(path)])
    },
};

pub const PAGE: Scenario = Scenario {
    name: "page",
    about: "the newest 100 records, from Postgres, 8 clients",
    unit: Unit::Requests,
    reference: "ours",
    can: |routes| routes.page.is_some(),
    warm: None,
    run: |server, _| {
        let path = server.routes.page.as_deref().context("no such page")?;
        ask(server, 8, 200, &[server.get(path)])
    },
};

pub const EXPORT: Scenario = Scenario {
    name: "export",
    about: "all records, streamed to one client",
    unit: Unit::Requests,
    reference: "psql COPY",
    can: |routes| routes.export.is_some(),
    warm: None,
    run: |server, ground| {
        let path = server.routes.export.as_deref().context("no export")?;
        let mut client = Client::connect(server.address)?;
        client.send(&server.get(path))?;
        let head = client.head()?;
        let mut rows = 0;
        client.body(&head, |bytes| rows += bytes.iter().filter(|byte| **byte == b'\n').count())?;
        ensure!(rows as u64 >= ground.rows, "{rows} rows came");
        Ok(Work { amount: rows as f64, ..Work::default() })
    },
};

/// Where each part of a file of `length` bytes begins, far from the one before: the step is a
/// prime, and so has no divisor with their number in common.
fn positions(length: u64) -> impl Iterator<Item = u64> {
    let count = length / RANGE;
    (0..count).map(move |step| step * 7_919 % count * RANGE)
}

/// Each of `clients` asks `times`, one request after the other.
fn ask(server: &Server, clients: usize, times: usize, requests: &[Vec<u8>]) -> Result<Work> {
    let latencies = crowd(clients, |index, together| {
        let mut client = Client::small(server.address)?;
        let mut latencies = Vec::with_capacity(times);
        let first = index * requests.len() / clients;
        together.wait();
        for turn in 0..times {
            let begin = Instant::now();
            client.get(&requests[(first + turn) % requests.len()])?;
            latencies.push(begin.elapsed().as_secs_f64());
        }
        Ok(latencies)
    })?;
    let amount = (clients * times) as f64;
    Ok(Work { amount, latencies: latencies.concat(), ..Work::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_file_is_visited() {
        let mut visited: Vec<_> = positions(64 << 20).collect();
        visited.sort_unstable();
        assert_eq!(visited, (0..1024).map(|place| place * RANGE).collect::<Vec<_>>());
    }
}
