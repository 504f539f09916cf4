//! Many events at once: a million in batches of a thousand, and how much disk they take.

use std::{sync::Arc, time::Instant};

use anyhow::Result;
use tidings_benches::{
    audit::audit,
    disk::{ALLOCATOR, Disk},
    harness::{Goal, Job, Unit, at_least, at_most},
    peers::Peer,
    workload::{EVENT_BYTES, Sample, sequence},
};

/// Events a batch; each batch is durable before the next one is sent.
const BATCH: usize = 1_000;

fn main() -> Result<()> {
    let disk = Disk::begin()?;
    let mut job = disk.job(env!("CARGO_BIN_NAME"));
    for (about, total, small) in
        [("short: 200,000 events", 200_000, 5_000), ("sustained: 1,000,000 events", 1_000_000, 20_000)]
    {
        let events = sequence(disk.pick(total, small), disk.pick(total, small) / 100)?;
        measure(&disk, &mut job, &disk.subject(about), &events)?;
    }
    Ok(())
}

fn measure(disk: &Disk, job: &mut Job, about: &str, events: &[Arc<Sample>]) -> Result<()> {
    let bytes = format!("{about}: on the disk when it is closed");
    let (mut peers, mut missing) = (vec![(Peer::Tidings, BATCH, "")], None);
    match disk.postgres()? {
        Ok(postgres) => {
            peers.insert(0, (postgres.clone(), BATCH, " COPY, a batch a transaction"));
            peers.push((postgres, events.len(), " COPY, one transaction"));
        }
        Err(why) => missing = Some(why),
    }
    let others = [Peer::HandSqlite, Peer::RawLog, Peer::Fjall, Peer::Redb];
    peers.extend(others.map(|peer| (peer, BATCH, "")));
    let named: Vec<_> =
        peers.iter().map(|(peer, batch, how)| (peer, *batch, format!("{}{how}", peer.name()))).collect();

    let mut table = job.table(about, Unit::rate("events/s"));
    for (peer, batch, name) in &named {
        let round = || append(disk, peer, *batch, name, events, &bytes);
        table = match peer {
            Peer::Postgres(_) if *batch == BATCH => table.reference(name, round),
            _ => table.peer(name, round),
        };
        let promise = peer.promise();
        table = table
            .guarantee("durable", if *batch == BATCH { promise.durable } else { "at the end of all" })
            .guarantee("ids", promise.ids)
            .guarantee("order", promise.order);
        table = match peer {
            Peer::Tidings => {
                let goal: Option<Goal> = missing.is_none().then(|| at_least(0.55));
                if let Some(goal) = goal {
                    table = table.goal(goal);
                }
                let missing = missing.as_ref().map_or(String::new(), |why| format!("; {why}"));
                table.note(format!(
                    "batches of {BATCH}, {EVENT_BYTES} bytes an event, 100 events a stream, no two neighbours of one \
                     stream, all read back and compared; {ALLOCATOR}{missing}"
                ))
            }
            _ => table.note(promise.lacks),
        };
    }
    disk.probed(table).run()?;

    let mut table = job.table(bytes.as_str(), Unit::size("× of metadata and payload as serialised"));
    for (peer, _, name) in &named {
        table = table.peer(name, disk.noted(&bytes, name));
        table = match peer {
            Peer::Tidings => table.goal(at_most(1.30).absolute()).note(
                "with an index on stream and version, one on ids, one on names, tags and categories, and the zones of \
                 event times",
            ),
            Peer::Postgres(_) => table.note("the table and its three indexes, without the write-ahead log"),
            _ => table,
        };
    }
    table.run()
}

fn append(
    disk: &Disk,
    peer: &Peer,
    batch: usize,
    name: &str,
    events: &[Arc<Sample>],
    bytes: &str,
) -> Result<f64> {
    let folder = disk.fresh()?;
    let (log, batches) = disk.runtime().block_on(async {
        let batches: Vec<Vec<Arc<Sample>>> = events.chunks(batch).map(<[_]>::to_vec).collect();
        anyhow::Ok((peer.open(folder.path(), 1).await?, batches))
    })?;
    disk.runtime().block_on(async {
        let log: Arc<dyn tidings_benches::peers::Log> = log.into();
        let appending = log.clone();
        // On a worker of the runtime, as a program's own tasks are.
        let seconds = tokio::spawn(async move {
            let begun = Instant::now();
            for batch in batches {
                appending.append(batch).await?;
            }
            anyhow::Ok(begun.elapsed().as_secs_f64())
        });
        let seconds = seconds.await??;
        audit(&*log, events.iter()).await?;
        let each = log.close().await? as f64 / events.len() as f64;
        disk.note(bytes, name, each / EVENT_BYTES as f64);
        Ok(events.len() as f64 / seconds)
    })
}
