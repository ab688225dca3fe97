//! `kill -9`, again and again, in the middle of a mixed load.

use std::time::{Duration, Instant};

use tests::{Client, Request, eventually};
use uuid::Uuid;

use crate::rig::load::digest;
use crate::rig::{Ground, Load, Told};

const KILLS: u32 = 50;

/// The load goes on for so long, or less, before a kill, in milliseconds: some come
/// with the first requests, some with hundreds behind them.
const LONGEST: u128 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_half_visible_over_fifty_kills() {
    let ground = Ground::new().await;
    let (mut told, mut staged, mut orphaned) = (Told::default(), 0, 0);
    let begin = Instant::now();
    for _ in 0..KILLS {
        let server = ground.server(&[]);
        eventually("what the last kill left is swept", async || ground.is_whole().await).await;
        let load = Load::start(server.address);
        let moment = u64::try_from(Uuid::new_v4().as_u128() % LONGEST).unwrap();
        tokio::time::sleep(Duration::from_millis(moment)).await;
        server.kill();
        let round = load.end().await;
        assert_eq!(round.wrong, [""; 0]);
        told.created.extend(round.created);
        told.deleted.extend(round.deleted);
        told.perhaps_deleted.extend(round.perhaps_deleted);
        told.broken += round.broken;
        ground.abandoned().await;
        staged += ground.staged();
        let records = ground.records().await;
        orphaned += ground.contents().iter().filter(|id| !records.contains_key(id)).count();
        // A sweep takes only what is older than any publication.
        ground.age();
    }

    let server = ground.server(&[]);
    eventually("what the last kill left is swept", async || ground.is_whole().await).await;
    let records = ground.records().await;
    let stays = |id: &&Uuid| !told.deleted.contains(id) && !told.perhaps_deleted.contains(id);
    let lost = told.created.keys().filter(stays).filter(|id| !records.contains_key(id)).count();
    let undead = told.deleted.iter().filter(|id| records.contains_key(id)).count();
    let (mut half, mut unanswered) = (0, 0);
    let mut client = Client::connect(server.address).await.unwrap();
    for (id, said) in &records {
        let got = client.exchange(&Request::get(format!("/v1/files/{id}/content"))).await.unwrap();
        let whole = got.status == 200 && digest(&got.body) == said.sha256;
        let as_sent = told.created.get(id).is_none_or(|sent| *sent == said.sha256);
        half += usize::from(!whole || !as_sent);
        unanswered += usize::from(!told.created.contains_key(id));
    }
    println!(
        "{KILLS} kills in {:.0} s, {} requests broken off; answered 201: {}, of these deleted: {}, \
         lost: {lost}; visible: {}, of these half: {half}, whole without an answer: {unanswered}; \
         swept: {staged} staged, {orphaned} without a record; deleted and back: {undead}",
        begin.elapsed().as_secs_f64(),
        told.broken,
        told.created.len(),
        told.deleted.len(),
        records.len(),
    );
    assert_eq!((lost, half, undead), (0, 0, 0));
    // Else it was no test: kills came when something was in flight.
    assert!(told.created.len() > 100 && told.broken > 20 && staged > 5, "too little went on");
    // What walks the folder itself finds no more.
    assert!(ground.command().arg("fsck").status().unwrap().success());
    assert!(server.stop().success());
}
