//! Rows about reading: streams and the log, both ways, from anywhere.

use super::{
    Fresh,
    kit::{Outcome, all, check_page, commit, failed, ids, same, tenant},
    show::recorded,
};
use crate::{AnyStore, Error, Read, Tenants};

table![
    "read: a stream forwards from any version" => stream_forward,
    "read: a stream backwards from any version" => stream_backward,
    "read: the log forwards from any position" => log_forward,
    "read: the log backwards from any position" => log_backward,
    "read: what is not there is empty, and the end" => nothing,
    "read: an event is the same by log, stream, direction and id" => one_truth,
    "read: a stream is read for one tenant" => stream_of_all_refused,
];

/// Three streams, entwined: a has 1 3 5 7 9, b has 2 6 10, c has 4 8.
async fn entwined(store: &AnyStore) -> Outcome {
    let order = ["a", "b", "a", "c", "a", "b", "a", "c", "a", "b"];
    for (at, stream) in order.iter().enumerate() {
        store.apply(commit(stream, &[&format!("{}", at + 1)])).await?;
    }
    Ok(())
}

const LIMITS: [usize; 5] = [1, 2, 3, 10, 1_000];

/// Reads from every place in pages of every size, and compares with what is after or before it.
async fn from_everywhere(
    store: &AnyStore,
    read: Read,
    whole: &[u64],
    numbers: &[u64],
    backward: bool,
) -> Outcome {
    let last = numbers.iter().max().copied().unwrap_or(0);
    for from in (0..=last + 2).chain([u64::MAX - 1, u64::MAX]) {
        let mut wanted: Vec<String> = whole
            .iter()
            .zip(numbers)
            .filter(|(_, number)| if backward { **number < from } else { **number > from })
            .map(|(id, _)| id.to_string())
            .collect();
        if backward {
            wanted.reverse();
        }
        for limit in LIMITS {
            let events = all(store, read.clone().from(from).limit(limit)).await?;
            same(&format!("{read:?} from {from} in pages of {limit}"), ids(&events), wanted.as_slice())?;
        }
    }
    Ok(())
}

async fn stream_forward(fresh: Fresh) -> Outcome {
    entwined(&fresh.store).await?;
    from_everywhere(&fresh.store, Read::stream("a"), &[1, 3, 5, 7, 9], &[1, 2, 3, 4, 5], false).await?;
    from_everywhere(&fresh.store, Read::stream("c"), &[4, 8], &[1, 2], false).await
}

async fn stream_backward(fresh: Fresh) -> Outcome {
    entwined(&fresh.store).await?;
    let read = |stream: &str| Read::stream(stream).backward();
    from_everywhere(&fresh.store, read("a"), &[1, 3, 5, 7, 9], &[1, 2, 3, 4, 5], true).await?;
    from_everywhere(&fresh.store, read("b"), &[2, 6, 10], &[1, 2, 3], true).await
}

async fn log_forward(fresh: Fresh) -> Outcome {
    entwined(&fresh.store).await?;
    let numbers: Vec<u64> = (1..=10).collect();
    from_everywhere(&fresh.store, Read::after(0), &numbers, &numbers, false).await
}

async fn log_backward(fresh: Fresh) -> Outcome {
    entwined(&fresh.store).await?;
    let numbers: Vec<u64> = (1..=10).collect();
    from_everywhere(&fresh.store, Read::newest(), &numbers, &numbers, true).await
}

async fn nothing(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let reads =
        [Read::after(0), Read::after(9), Read::newest(), Read::stream("a"), Read::stream("a").backward()];
    for read in reads {
        let page = store.read(&read).await?;
        check_page(&read, &page)?;
        ensure!(page.events.is_empty() && page.end, "{read:?} of an empty store gave {page:?}");
    }
    entwined(store).await?;
    for read in [
        Read::after(10),
        Read::after(99),
        Read::newest().from(1),
        Read::newest().from(0),
        Read::stream("d"),
        Read::stream("a").from(5),
        Read::stream("a").backward().from(1),
        Read::after(0).tenant(tenant("acme")),
        Read::stream("a").tenant(tenant("acme")),
    ] {
        let events = all(store, read.clone()).await?;
        ensure!(events.is_empty(), "{read:?} gave {:?}", ids(&events));
    }
    Ok(())
}

async fn one_truth(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    entwined(store).await?;
    let log = all(store, Read::after(0)).await?;
    let mut newest = all(store, Read::newest().limit(3)).await?;
    newest.reverse();
    same("backwards", shown(&newest), shown(&log))?;
    for stream in ["a", "b", "c"] {
        let of_log: Vec<_> = log.iter().filter(|event| *event.stream == *stream).cloned().collect();
        let mut back = all(store, Read::stream(stream).backward()).await?;
        back.reverse();
        same("the stream", shown(&all(store, Read::stream(stream)).await?), shown(&of_log))?;
        same("the stream backwards", shown(&back), shown(&of_log))?;
    }
    for event in &log {
        let found = store.find(&tenant(""), event.envelope.source(), event.envelope.id()).await?;
        let Some(found) = found else { return Err(failed("an event in the log is not found by its id")) };
        same("by id", recorded(&found), recorded(event))?;
    }
    same(
        "positions",
        log.iter().map(|event| event.position).collect::<Vec<_>>(),
        (1..=10).collect::<Vec<_>>(),
    )
}

fn shown(events: &[crate::Recorded]) -> Vec<String> {
    events.iter().map(recorded).collect()
}

async fn stream_of_all_refused(fresh: Fresh) -> Outcome {
    entwined(&fresh.store).await?;
    let read = Read { tenants: Tenants::All, ..Read::stream("a") };
    let answer = fresh.store.read(&read).await;
    ensure!(matches!(answer, Err(Error::Refused(_))), "a stream of all tenants was answered {answer:?}");
    Ok(())
}
