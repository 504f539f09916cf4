//! Single events, each acknowledged when it is durable: 1, 16 and 256 appenders at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tidings_benches::{
    audit::audit,
    disk::{ALLOCATOR, Disk, flushes, micros, percentile},
    harness::{Goal, Job, Table, Unit, at_least, at_most},
    peers::{Log, Peer},
    workload::{EVENT_BYTES, Sample, samples},
};

const RATE: Unit = Unit::rate("events/s");
const FLUSHES: &str = "1 appender: syncs of the disk an acknowledged event";

fn main() -> Result<()> {
    let disk = Disk::begin()?;
    let mut job = disk.job(env!("CARGO_BIN_NAME"));
    let postgres = disk.postgres()?;
    let mut peers = vec![Peer::RawLog, Peer::Tidings, Peer::HandSqlite];
    peers.extend(postgres.clone().ok());
    peers.extend([Peer::Fjall, Peer::Redb]);
    let missing = postgres.err();
    for (appenders, pool, of_log, of_postgres) in
        [(1, 20_000, 0.65, 1.2), (16, 120_000, 0.65, 1.6), (256, 500_000, 0.25, 3.5)]
    {
        let events = samples(disk.pick(pool, 8_000), 10_000, appenders)?;
        let about = disk.subject(&name(appenders));
        let setting = Setting { disk: &disk, events: &events, about: &about, seconds: disk.pick(1.0, 0.1) };
        let mut table = setting.table(&mut job, &about, &peers, missing.as_deref(), |peer| match peer {
            Peer::Tidings => {
                [Some(at_least(of_log)), missing.is_none().then(|| at_least(of_postgres).of("PostgreSQL"))]
            }
            _ => [None, None],
        });
        table = disk.probed(table);
        table.run()?;
        waits(&disk, &mut job, &about, &peers)?;
        if appenders == 1 && flushes(disk.folder()).is_some() {
            syncs(&disk, &mut job, &peers)?;
        }
    }
    sustained(&disk, &mut job)
}

fn name(appenders: usize) -> String {
    if appenders == 1 { "1 appender".into() } else { format!("{appenders} appenders") }
}

/// The same peers with as many events as a day has, so that checkpoints and compactions are paid for.
fn sustained(disk: &Disk, job: &mut Job) -> Result<()> {
    let events = samples(disk.pick(1_000_000, 10_000), 10_000, 256)?;
    let about = disk.subject("256 appenders, 1,000,000 events");
    let setting = Setting { disk, events: &events, about: &about, seconds: f64::INFINITY };
    let peers = [Peer::RawLog, Peer::Tidings, Peer::HandSqlite];
    disk.probed(setting.table(job, &about, &peers, None, |_| [None, None])).run()
}

struct Setting<'a> {
    disk: &'a Disk,
    /// What each appender appends.
    events: &'a [Vec<Arc<Sample>>],
    about: &'a str,
    seconds: f64,
}

impl<'a> Setting<'a> {
    fn table(
        &'a self,
        job: &'a mut Job,
        subject: &str,
        peers: &'a [Peer],
        missing: Option<&str>,
        goals: impl Fn(&Peer) -> [Option<Goal>; 2],
    ) -> Table<'a> {
        let mut table = job.table(subject, RATE);
        for peer in peers {
            let round = move || self.round(peer);
            table = match peer {
                Peer::RawLog => table.reference(peer.name(), round),
                _ => table.peer(peer.name(), round),
            };
            for goal in goals(peer).into_iter().flatten() {
                table = table.goal(goal);
            }
            let promise = peer.promise();
            table = table
                .guarantee("durable", promise.durable)
                .guarantee("ids", promise.ids)
                .guarantee("order", promise.order);
            let notes: Vec<&str> = match peer {
                Peer::Tidings => [missing].into_iter().flatten().collect(),
                _ => vec![promise.lacks],
            };
            let own = match peer {
                Peer::Tidings => format!(
                    "Store::apply on a runtime of two threads, {EVENT_BYTES} bytes an event, many streams, the version \
                     each expects, all read back and compared after each round; {ALLOCATOR}"
                ),
                Peer::Postgres(_) => {
                    format!("{} connections, one insert a transaction", self.events.len().min(64))
                }
                _ => String::new(),
            };
            let note: Vec<&str> = [own.as_str()].into_iter().chain(notes).filter(|n| !n.is_empty()).collect();
            table = table.note(note.join("; "));
        }
        table
    }

    /// One round of a peer: events acknowledged in a second.
    fn round(&self, peer: &Peer) -> Result<f64> {
        let folder = self.disk.fresh()?;
        self.disk.runtime().block_on(async {
            let log: Arc<dyn Log> = peer.open(folder.path(), self.events.len()).await?.into();
            let each_own = self.events.to_vec();
            let synced = flushes(self.disk.folder());
            let begun = Instant::now();
            let until =
                begun + Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::from_secs(3_600));
            let appenders: Vec<_> =
                each_own.into_iter().map(|events| tokio::spawn(append(log.clone(), events, until))).collect();
            let mut waits = Vec::new();
            let mut acknowledged = Vec::new();
            for (appender, events) in appenders.into_iter().zip(self.events) {
                let mut own = appender.await??;
                acknowledged.extend(events.get(..own.len()).context("not more than there are")?);
                waits.append(&mut own);
            }
            let rate = waits.len() as f64 / begun.elapsed().as_secs_f64();
            if let (Some(before), Some(after)) = (synced, flushes(self.disk.folder())) {
                let each = (after - before) as f64 / waits.len() as f64;
                self.disk.note(FLUSHES, peer.name(), each);
            }
            for (part, share) in [("p50", 0.50), ("p99", 0.99)] {
                self.disk.note(&format!("{}: {part}", self.about), peer.name(), percentile(&waits, share));
            }
            audit(&*log, acknowledged.into_iter()).await?;
            log.close().await?;
            Ok(rate)
        })
    }
}

/// Appends one after another until the time is over, and answers how long each took.
async fn append(log: Arc<dyn Log>, events: Vec<Arc<Sample>>, until: Instant) -> Result<Vec<f64>> {
    let mut waits = Vec::with_capacity(events.len());
    for sample in events {
        let sent = Instant::now();
        if sent >= until {
            break;
        }
        log.append(vec![sample]).await?;
        waits.push(micros(sent.elapsed()));
    }
    Ok(waits)
}

/// How long appenders waited in those rounds.
fn waits(disk: &Disk, job: &mut Job, about: &str, peers: &[Peer]) -> Result<()> {
    let half = format!("{about}: p50");
    let tail = format!("{about}: p99");
    for subject in [&half, &tail] {
        let mut table = job.table(subject.as_str(), Unit::time("µs"));
        for peer in peers {
            let noted = disk.noted(subject, peer.name());
            table = match peer {
                Peer::RawLog => table.reference(peer.name(), noted),
                _ => table.peer(peer.name(), noted),
            };
        }
        table.note("closed loop: the next append is sent when the last one is acknowledged").run()?;
    }
    let mut table = job.table(format!("{about}: p99 over p50"), Unit::size("×"));
    for peer in peers {
        let (mut one, mut other) = (disk.noted(&tail, peer.name()), disk.noted(&half, peer.name()));
        use tidings_benches::harness::Measure as _;
        table = table.peer(peer.name(), move || Ok(one.measure()? / other.measure()?.max(1e-3)));
        if matches!(peer, Peer::Tidings) && about.contains("256") {
            table = table.goal(at_most(5.0).absolute());
        }
    }
    table.run()
}

/// A check that a figure is not too good to be true: an append alone cannot be durable without a sync of its own.
fn syncs(disk: &Disk, job: &mut Job, peers: &[Peer]) -> Result<()> {
    let mut table = job.table(disk.subject(FLUSHES), Unit::size("syncs/event"));
    for peer in peers {
        table = table.peer(peer.name(), disk.noted(FLUSHES, peer.name()));
        if matches!(peer, Peer::Tidings) {
            table = table.goal(at_least(1.0).absolute()).note(
                "as the device counts them, so the syncs of others are in it: under 1 would prove that an append was \
                 acknowledged without one, over 1 proves nothing; the proof are the engine's crash tests",
            );
        }
    }
    table.run()
}
