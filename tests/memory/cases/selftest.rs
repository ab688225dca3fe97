//! The instrument itself: it adds nothing, and a leak on purpose is found.
//!
//! **What goes wrong**: a client that allocates is charged to the service; a
//! leak that no figure shows passes for a bound that holds.
//!
//! **The pattern**: an echo that allocates nothing, over the rig's pipe, used by
//! the rig's client.
//!
//! **The bound**: no allocation in 1 MiB there and back, and 0 bytes retained.
//!
//! **The twin**: the same echo, with one entry of 64 bytes kept a connection:
//! the map of clients that nothing ever removes from.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};
use meter::{Probe, Report, Sample};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Case, Tier};
use crate::rig::content::{self, Content};
use crate::rig::pipe::End;
use crate::rig::{self, Client, MIB, Operation, Service, measure};

/// One block of content, in bytes.
const BLOCK: u64 = content::BLOCK as u64;

pub const CASE: Case = Case {
    name: "selftest",
    tier: Tier::A,
    about: "the rig allocates nothing, and a deliberate leak is found",
    pattern: || rig::run(pattern()),
    twin: || rig::run(twin()),
};

async fn pattern() -> Result<Report> {
    let service = Service::new(echo);
    let mut allocations = Vec::new();
    let mut content = Content::new();
    for repetition in 0..measure::WARM_UPS + measure::REPETITIONS {
        let mut client = service.call().begin();
        // The connection begins before the measurement: it is the service's.
        there_and_back(&mut client, &mut content, BLOCK).await?;
        let probe = Probe::start();
        there_and_back(&mut client, &mut content, MIB).await?;
        if repetition >= measure::WARM_UPS {
            allocations.push(probe.read().allocs as f64);
        }
    }
    let [per_op, retained] = measure::retained(&service, || operation(&service)).await?;
    Ok(Report { samples: vec![Sample::new("rig_allocs", allocations), per_op, retained] })
}

async fn twin() -> Result<Report> {
    let clients = Arc::new(Mutex::new(Vec::new()));
    let service = Service::new(move |io| {
        clients.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new([0_u8; 64]));
        echo(io)
    });
    let [per_op, retained] = measure::retained(&service, || operation(&service)).await?;
    Ok(Report { samples: vec![per_op, retained] })
}

async fn echo(mut io: End) {
    let mut block = vec![0; content::BLOCK];
    while let Ok(count @ 1..) = io.read(&mut block).await {
        if io.write_all(&block[..count]).await.is_err() {
            break;
        }
    }
}

fn operation(service: &Service) -> Operation {
    let call = service.call();
    Box::pin(async move { there_and_back(&mut call.begin(), &mut Content::new(), BLOCK).await })
}

async fn there_and_back(client: &mut Client, content: &mut Content, size: u64) -> Result<()> {
    let mut returned = Sha256::new();
    let mut offset = 0;
    while offset < size {
        client.send(content.block(offset, size)).await?;
        client.body(BLOCK, &mut returned).await?;
        offset += BLOCK;
    }
    ensure!(
        content.digest(size) == <content::Digest>::from(returned.finalize()),
        "other bytes came back"
    );
    Ok(())
}
