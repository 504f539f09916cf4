//! Pages of any size have the same events: those read in one go, those divided between threads, and filtered ones.

mod support;

use support::{folder, open, runtime};
use tidings_core::{Append, Commit, Envelope};
use tidings_sqlite::SqliteStore;
use tidings_store::{Filter, PAGE_EVENTS_MAX, Read, Store as _};

const EVENTS: u64 = 20_000;

fn fill(store: &SqliteStore, payload: usize) {
    let event = |number: u64| {
        // One name is common, one comes in clusters, one is rare.
        let name = match number {
            number if number % 997 == 0 => "rare",
            number if number / 3_000 % 2 == 0 => "clustered",
            _ => "common",
        };
        let text = format!("{{\"n\":{number},\"fill\":\"{}\"}}", "x".repeat(payload));
        Envelope::build(name).id(format!("{number}")).json(text.into_bytes()).finish().expect("valid")
    };
    runtime().block_on(async {
        let mut numbers = 0..EVENTS;
        loop {
            let events: Vec<_> = numbers.by_ref().take(2_000).map(event).collect();
            if events.is_empty() {
                return;
            }
            let commit = Commit { appends: vec![Append::to("all", events)], ..Commit::default() };
            store.apply(commit).await.expect("applies");
        }
    });
}

fn all(store: &SqliteStore, mut read: Read) -> (Vec<u64>, usize) {
    runtime().block_on(async {
        let (mut found, mut pages) = (Vec::new(), 0);
        loop {
            let page = store.read(&read).await.expect("reads");
            assert!(page.events.len() <= read.limit);
            found.extend(page.events.iter().map(|event| event.position));
            pages += 1;
            if page.end {
                return (found, pages);
            }
            assert!(page.next > read.from, "every page goes on");
            read = read.from(page.next);
        }
    })
}

#[test]
fn pages_of_every_size_have_the_same_events() {
    let (_kept, path) = folder();
    fill(&open(&path), 10);
    // Opened anew, nothing of it is in memory.
    let store = open(&path);
    for pattern in ["**", "common", "clustered", "rare"] {
        let filter = Filter::names(vec![pattern.parse().expect("valid")]);
        let (wanted, _) = all(&store, Read::after(0).filter(filter.clone()).limit(100));
        assert!(!wanted.is_empty());
        for (from, limit) in
            [(0, PAGE_EVENTS_MAX), (0, 2_048), (1, 3_001), (17_000, PAGE_EVENTS_MAX), (0, 9_999)]
        {
            let (found, _) = all(&store, Read::after(from).filter(filter.clone()).limit(limit));
            let wanted: Vec<u64> = wanted.iter().copied().filter(|position| *position > from).collect();
            assert_eq!(found, wanted, "{pattern} after {from} by {limit}");
        }
    }
    assert_eq!(all(&store, Read::after(0).limit(PAGE_EVENTS_MAX)).1, 5, "large pages are full");
}

#[test]
fn pages_of_large_events_are_closed_by_their_bytes_and_nothing_is_left_out() {
    let (_kept, path) = folder();
    fill(&open(&path), 3_000);
    let store = open(&path);
    let (found, pages) = all(&store, Read::after(0).limit(PAGE_EVENTS_MAX));
    assert_eq!(found, (1..=EVENTS).collect::<Vec<_>>());
    assert!((8..=12).contains(&pages), "{pages} pages of 60 MB");
}
