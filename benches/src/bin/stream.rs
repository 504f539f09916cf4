//! One stream of a hundred events, among many: how long until all of it is there.

use std::{
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tidings_benches::{
    disk::{ALLOCATOR, Disk, micros},
    harness::{Unit, at_most},
    peers::{HandSqlite, Log, Ours, Peer, Seen},
    workload::{Sample, scramble, sequence},
};
use tidings_store::{Read, Store as _};

/// Events a stream.
const LENGTH: u64 = 100;

fn main() -> Result<()> {
    let disk = Disk::begin()?;
    let mut job = disk.job(env!("CARGO_BIN_NAME"));
    let total = disk.pick(500_000, 20_000);
    let reads = disk.pick(2_000, 50);
    let events = sequence(total, total / LENGTH as usize)?;
    let streams: Vec<i64> = (0..reads).map(|n| (scramble(n) % (total as u64 / LENGTH)) as i64).collect();
    let folders = [disk.fresh()?, disk.fresh()?, disk.fresh()?, disk.fresh()?];
    let [ours, hand, fjall, redb] = folders.each_ref().map(|folder| folder.path());
    drop(fill(&disk, &Peer::Tidings, &events, ours)?);
    drop(fill(&disk, &Peer::HandSqlite, &events, hand)?);
    let (fjall, redb) =
        (fill(&disk, &Peer::Fjall, &events, fjall)?, fill(&disk, &Peer::Redb, &events, redb)?);
    let postgres = disk.postgres()?.ok().map(|peer| fill(&disk, &peer, &events, ours)).transpose()?;
    drop(events);
    // All are open and have their caches, as they are in a program that runs.
    let (store, hand) = (Ours::open(ours)?, HandSqlite::open(hand)?);
    let engine = store.store().clone();

    let through = |log: &dyn Log| {
        each_micros(&streams, |stream| {
            let mut sum = 0;
            disk.runtime().block_on(log.read_stream(stream, &mut |seen: Seen<'_>| {
                black_box(seen.payload);
                sum += seen.version;
            }))?;
            Ok(sum)
        })
    };
    let mut table = job
        .table(disk.subject("a stream of 100 among 5,000, from the first"), Unit::time("µs"))
        .reference("hand-written SQLite", || {
            each_micros(&streams, |stream| {
                let rows = black_box(hand.read_stream_owned(stream)?);
                Ok(rows.iter().map(|row| row.version as u64).sum())
            })
        })
        .note("found by its number, rows as owned values, metadata as unparsed JSON")
        .peer("tidings", || {
            let (engine, streams) = (engine.clone(), streams.clone());
            disk.runtime().block_on(async { tokio::spawn(whole_streams(engine, streams)).await? })
        })
        .goal(at_most(1.2))
        .note(format!("Store::read, found by its name, metadata decoded; {ALLOCATOR}"))
        .peer("fjall 3", || through(&*fjall))
        .note("an entry and a look-up an event")
        .peer("redb 4", || through(&*redb))
        .note("an entry and a look-up an event");
    if let Some(postgres) = &postgres {
        table =
            table.peer("PostgreSQL", || through(&**postgres)).note("one prepared query over a unix socket");
    }
    disk.probed(table).run()
}

async fn whole_streams(engine: Arc<tidings_sqlite::SqliteStore>, streams: Vec<i64>) -> Result<f64> {
    let mut spent = Duration::ZERO;
    for stream in &streams {
        let begun = Instant::now();
        let page = black_box(engine.read(&Read::stream(format!("order-{stream:08}"))).await?);
        let sum: u64 = page.events.iter().map(|event| event.version).sum();
        spent += begun.elapsed();
        ensure!(sum == LENGTH * (LENGTH + 1) / 2 && page.end, "stream {stream} is not whole: {sum}");
    }
    Ok(micros(spent) / streams.len() as f64)
}

/// How long a stream takes on average; `read` answers the sum of its versions, so that none is passed over.
fn each_micros(streams: &[i64], mut read: impl FnMut(i64) -> Result<u64>) -> Result<f64> {
    let begun = Instant::now();
    for stream in streams {
        let sum = read(*stream)?;
        ensure!(sum == LENGTH * (LENGTH + 1) / 2, "stream {stream} is not whole: {sum}");
    }
    Ok(micros(begun.elapsed()) / streams.len() as f64)
}

fn fill(disk: &Disk, peer: &Peer, events: &[Arc<Sample>], folder: &Path) -> Result<Box<dyn Log>> {
    disk.runtime().block_on(async {
        let log = peer.open(folder, 1).await?;
        for batch in events.chunks(5_000) {
            log.append(batch.to_vec()).await?;
        }
        Ok(log)
    })
}
