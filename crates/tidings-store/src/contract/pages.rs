//! Rows about pages: bounded, without loss or repeat, also while the log grows.

use bytes::Bytes;
use tidings_core::{Append, Commit, Envelope, PAYLOAD_BYTES_MAX, PayloadForm};

use super::{
    Fresh,
    kit::{
        Failed, Outcome, SOURCE, all, check_page, commit, event, failed, ids, made, named, one, pattern, same,
    },
};
use crate::{AnyStore, Filter, PAGE_BYTES, PAGE_EVENTS_MAX, Read};

table![
    "pages: at most the limit, and the end is said" => limits,
    "pages: the number of events is bounded whatever is asked for" => bounded_events,
    "pages: bytes are bounded whatever is asked for" => bounded_bytes,
    "pages: reading forwards while the log grows loses and repeats nothing" => growing_forward,
    "pages: reading backwards while the log grows gives what was there" => growing_backward,
    "pages: after the end, going on gives what came since" => going_on,
    "pages: few matches among many events are all found" => sparse,
];

async fn numbered(store: &AnyStore, range: std::ops::Range<u64>) -> Outcome {
    for at in range {
        store.apply(commit("a", &[&format!("{at}")])).await?;
    }
    Ok(())
}

async fn limits(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    numbered(store, 0..10).await?;
    for read in [Read::after(0), Read::newest(), Read::stream("a"), Read::stream("a").backward()] {
        for limit in [0, 1, 4, 9] {
            let read = read.clone().limit(limit);
            let page = store.read(&read).await?;
            check_page(&read, &page)?;
            ensure!(!page.end, "a page of {limit} of ten events says it is the end");
        }
        for limit in [11, 1_000, usize::MAX] {
            same("all in pages", all(store, read.clone().limit(limit)).await?.len(), 10)?;
        }
    }
    Ok(())
}

async fn bounded_events(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let many = PAGE_EVENTS_MAX + 10;
    let events: Vec<Envelope> = (0..many).map(|at| made(event(&format!("{at}")))).collect();
    store.apply(Commit::append(Append::to("a", events))).await?;
    for read in [Read::after(0), Read::newest(), Read::stream("a")] {
        let read = read.limit(usize::MAX);
        let page = store.read(&read).await?;
        ensure!(page.events.len() <= PAGE_EVENTS_MAX, "{} events in one page", page.events.len());
        ensure!(!page.end, "a page of {} of {many} events says it is the end", page.events.len());
        same("all in pages", all(store, read).await?.len(), many)?;
    }
    Ok(())
}

async fn bounded_bytes(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let payload = Bytes::from(vec![7; PAYLOAD_BYTES_MAX]);
    let events = 20;
    for at in 0..events {
        let big = Envelope::build("order.placed").id(format!("{at}")).source(SOURCE);
        store.apply(one("a", big.payload(PayloadForm::Binary, payload.clone()))).await?;
    }
    for read in [Read::after(0), Read::newest(), Read::stream("a")] {
        let (mut read, mut seen) = (read, Vec::new());
        for _ in 0..STEPS_MAX {
            let (bytes, end) = step(store, &mut read, &mut seen).await?;
            ensure!(bytes < PAGE_BYTES + PAYLOAD_BYTES_MAX, "{bytes} bytes in one page");
            if end {
                break;
            }
        }
        same("all in pages", seen.len(), events)?;
    }
    Ok(())
}

/// More pages than any of these rows needs.
const STEPS_MAX: usize = 1_000;

/// Reads one page and goes on after it; gives the bytes in it, and whether it is the end.
async fn step(store: &AnyStore, read: &mut Read, seen: &mut Vec<String>) -> Result<(usize, bool), Failed> {
    let page = store.read(read).await?;
    check_page(read, &page)?;
    read.from = page.next;
    seen.extend(ids(&page.events));
    let bytes = page.events.iter().map(|event| event.envelope.payload().map_or(0, Bytes::len)).sum();
    Ok((bytes, page.end))
}

/// Reads to the end.
async fn to_the_end(store: &AnyStore, read: &mut Read) -> Result<Vec<String>, Failed> {
    let mut seen = Vec::new();
    for _ in 0..STEPS_MAX {
        if step(store, read, &mut seen).await?.1 {
            return Ok(seen);
        }
    }
    Err(failed("reading page by page never ends"))
}

async fn growing_forward(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    for read in [Read::after(0), Read::stream("a")] {
        let first = store.head().await?;
        let (mut next, stop) = (first + 5, first + 20);
        numbered(store, first..next).await?;
        let (mut read, mut seen) = (read.limit(2), Vec::new());
        // One event comes for every page of two, until `stop`.
        for _ in 0..STEPS_MAX {
            let (_, end) = step(store, &mut read, &mut seen).await?;
            if end && next >= stop {
                break;
            }
            if next < stop {
                numbered(store, next..next + 1).await?;
                next += 1;
            }
        }
        let wanted: Vec<String> = (0..next).map(|at| format!("{at}")).collect();
        same("oldest first", seen, wanted)?;
    }
    Ok(())
}

async fn growing_backward(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    for read in [Read::newest(), Read::stream("a").backward()] {
        let have = store.head().await?;
        numbered(store, have..have + 7).await?;
        let wanted: Vec<String> = (0..have + 7).rev().map(|at| format!("{at}")).collect();
        let (mut read, mut seen) = (read.limit(2), Vec::new());
        for next in (have + 7..).take(STEPS_MAX) {
            if step(store, &mut read, &mut seen).await?.1 {
                break;
            }
            numbered(store, next..next + 1).await?;
        }
        same("newest first", seen, wanted)?;
    }
    Ok(())
}

async fn going_on(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    for filter in [Filter::default(), Filter::names([pattern("order.*")])] {
        for read in [Read::after(0), Read::stream("a")] {
            let mut read = read.filter(filter.clone());
            let have = store.head().await?;
            to_the_end(store, &mut read).await?;
            let from = read.from;
            let seen = to_the_end(store, &mut read).await?;
            same("nothing new", (seen.len(), read.from), (0, from))?;
            // What does not match moves a reader on as well, but never past what is to come.
            store.apply(one("a", named(&format!("{have}"), "user.renamed"))).await?;
            to_the_end(store, &mut read).await?;
            numbered(store, have + 1..have + 3).await?;
            let seen = to_the_end(store, &mut read).await?;
            same("what came since", seen, [format!("{}", have + 1), format!("{}", have + 2)])?;
        }
    }
    Ok(())
}

async fn sparse(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let events: Vec<Envelope> = (0..3_000_u32)
        .map(|at| {
            let name = if at % 1_000 == 999 { "user.renamed" } else { "order.placed" };
            made(named(&format!("{at}"), name))
        })
        .collect();
    store.apply(Commit::append(Append::to("a", events))).await?;
    for read in [Read::after(0), Read::stream("a"), Read::newest()] {
        for limit in [1, 2, 100] {
            let filter = Filter::names([pattern("user.*")]);
            let mut found = ids(&all(store, read.clone().filter(filter).limit(limit)).await?);
            found.sort();
            same("the few", found, ["1999", "2999", "999"])?;
        }
    }
    Ok(())
}
