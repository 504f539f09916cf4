//! A million events read back from the beginning: by the engine, through the public API into a type, and by others.

use std::{hint::black_box, path::Path, sync::Arc, time::Instant};

use anyhow::{Result, anyhow, ensure};
use tidings::store::{PAGE_EVENTS_MAX, Read};
use tidings_benches::{
    disk::{ALLOCATOR, Disk},
    harness::{Unit, at_least},
    peers::{HandSqlite, Log, Ours, Peer, Seen},
    workload::{OrderChanged, Sample, sequence},
};

const ENGINE: &str = "tidings, engine";
const HAND: &str = "hand-written SQLite, owned rows";

fn main() -> Result<()> {
    let disk = Disk::begin()?;
    let mut job = disk.job(env!("CARGO_BIN_NAME"));
    let total = disk.pick(1_000_000, 20_000);
    let events = sequence(total, total / 100)?;
    let expected = Sums::of(&events);
    let (ours, hand) = (disk.fresh()?, disk.fresh()?);
    let (log, fjall) = (fill(&disk, &Peer::RawLog, &events)?, fill(&disk, &Peer::Fjall, &events)?);
    let redb = fill(&disk, &Peer::Redb, &events)?;
    let postgres = disk.postgres()?.ok().map(|peer| fill(&disk, &peer, &events)).transpose()?;
    fill_in(&disk, &Peer::Tidings, &events, ours.path())?;
    fill_in(&disk, &Peer::HandSqlite, &events, hand.path())?;
    drop(events);

    let through = |log: &dyn Log| -> Result<f64> {
        let (mut sums, begun) = (Sums::default(), Instant::now());
        disk.runtime().block_on(log.read_all(&mut |seen: Seen<'_>| sums.add(seen.version, seen.payload)))?;
        sums.rate(expected, begun)
    };
    let mut table = job
        .table(disk.subject("1,000,000 events from the beginning"), Unit::rate("events/s"))
        .reference(HAND, || owned_rows(hand.path(), expected))
        .note(
            "every row as owned values, metadata as unparsed JSON; the same settings, and the cache of one of our readers",
        )
        .peer("hand-written SQLite, rows only looked at", || through(&HandSqlite::open(hand.path())?))
        .note("borrowed from the row; nothing can be kept")
        .peer(ENGINE, || engine(&disk, ours.path(), expected))
        .goal(at_least(0.9))
        .note(format!(
            "Store::read in pages of {PAGE_EVENTS_MAX}: envelopes with their metadata decoded (checksums are checked by `verify`), the \
             store opened anew, the file in the system's cache; {ALLOCATOR}"
        ))
        .peer("tidings, public API, decoded", || decoded(&disk, ours.path(), expected))
        .goal(at_least(0.5).of(ENGINE))
        .note("pages of the application's store, each event decoded into its type")
        .peer("raw log", || through(&*log.1))
        .note("each record checked and borrowed")
        .peer("fjall 3", || through(&*fjall.1))
        .peer("redb 4", || through(&*redb.1));
    if let Some((_, postgres)) = &postgres {
        table = table.peer("PostgreSQL", || through(&**postgres)).note("one query, streamed");
    }
    disk.probed(table).run()
}

/// What is compared, so that nobody passes over an event: how many, their versions, the bytes of their payloads.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sums {
    events: u64,
    versions: u64,
    bytes: u64,
}

impl Sums {
    fn of(events: &[Arc<Sample>]) -> Self {
        let mut sums = Self::default();
        for sample in events {
            sums.add(sample.version, &sample.payload);
        }
        sums
    }

    fn add(&mut self, version: u64, payload: &[u8]) {
        self.events += 1;
        self.versions += version;
        self.bytes += black_box(payload).len() as u64;
    }

    fn rate(self, expected: Self, begun: Instant) -> Result<f64> {
        let seconds = begun.elapsed().as_secs_f64();
        ensure!(self == expected, "read {self:?}, expected {expected:?}");
        Ok(self.events as f64 / seconds)
    }
}

type Filled = (tempfile::TempDir, Box<dyn Log>);

fn fill(disk: &Disk, peer: &Peer, events: &[Arc<Sample>]) -> Result<Filled> {
    let folder = disk.fresh()?;
    let log = fill_in(disk, peer, events, folder.path())?;
    Ok((folder, log))
}

fn fill_in(disk: &Disk, peer: &Peer, events: &[Arc<Sample>], folder: &Path) -> Result<Box<dyn Log>> {
    disk.runtime().block_on(async {
        let log = peer.open(folder, 1).await?;
        for batch in events.chunks(5_000) {
            log.append(batch.to_vec()).await?;
        }
        Ok(log)
    })
}

fn owned_rows(folder: &Path, expected: Sums) -> Result<f64> {
    let store = HandSqlite::open(folder)?;
    let (mut sums, begun) = (Sums::default(), Instant::now());
    store.read_owned(|row| {
        let row = black_box(row);
        sums.add(row.version as u64, &row.payload);
    })?;
    sums.rate(expected, begun)
}

fn engine(disk: &Disk, folder: &Path, expected: Sums) -> Result<f64> {
    let store = Ours::open(folder)?.store().clone();
    let reading = async move {
        let (mut sums, begun) = (Sums::default(), Instant::now());
        let mut read = Read::after(0).limit(PAGE_EVENTS_MAX);
        loop {
            let page = tidings::store::Store::read(&*store, &read).await?;
            for event in &page.events {
                sums.add(event.version, event.envelope.payload()?);
            }
            if page.end {
                return sums.rate(expected, begun);
            }
            read = read.from(page.next);
        }
    };
    disk.runtime().block_on(async { tokio::spawn(reading).await? })
}

fn decoded(disk: &Disk, folder: &Path, expected: Sums) -> Result<f64> {
    let url = format!("sqlite:{}", folder.join("events.db").display());
    let reading = async move {
        let store = tidings::open_store(&url, tidings::Mode::Existing).await?;
        let (mut sums, begun) = (Sums::default(), Instant::now());
        let mut read = Read::after(0).limit(PAGE_EVENTS_MAX);
        loop {
            let page = store.read(&read).await?;
            for event in &page.events {
                let order =
                    event.envelope.decode::<OrderChanged>().map_err(|failure| anyhow!("{failure}"))?;
                black_box(&order);
                sums.add(event.version, event.envelope.payload()?);
            }
            if page.end {
                return sums.rate(expected, begun);
            }
            read = read.from(page.next);
        }
    };
    disk.runtime().block_on(async { tokio::spawn(reading).await? })
}
