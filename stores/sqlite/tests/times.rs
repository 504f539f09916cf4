//! Reading by event time: over blocks that are complete, the one that is not, and those that several handles wrote.

mod support;

use support::{assert_sound, folder, open, runtime};
use tidings_core::{Append, Commit, Envelope, Timestamp};
use tidings_store::{Direction, Filter, Read, Store};

/// Event times without order: each position's is far from its neighbours'.
fn time_of(position: u64) -> i64 {
    (position as i64).wrapping_mul(7_919).rem_euclid(100_000)
}

fn commit(first: u64, many: u64) -> Commit {
    let event = |position: u64| {
        Envelope::build("reading.taken")
            .source("/meter")
            .id(format!("{position}"))
            .time(Timestamp::from_micros(time_of(position)))
            .json(b"{}".as_slice())
            .finish()
            .expect("valid")
    };
    let events = (first..first + many).map(event).collect();
    Commit { appends: vec![Append::to("reading", events)], ..Commit::default() }
}

async fn positions(store: &dyn Store, from: i64, until: i64, direction: Direction) -> Vec<u64> {
    let filter = Filter {
        happened: Some((Timestamp::from_micros(from), Timestamp::from_micros(until))),
        ..Filter::default()
    };
    let mut read = match direction {
        Direction::Forward => Read::after(0),
        Direction::Backward => Read::newest(),
    }
    .filter(filter);
    let mut found = Vec::new();
    loop {
        let page = store.read(&read).await.expect("reads");
        found.extend(page.events.iter().map(|event| event.position));
        if page.end {
            return found;
        }
        read = read.from(page.next);
    }
}

#[test]
fn a_range_of_event_times_finds_what_looking_at_everything_finds() {
    let (_kept, path) = folder();
    let (one, other) = (open(&path), open(&path));
    runtime().block_on(async {
        let mut next = 1;
        // The ends of blocks fall into commits of either handle, on their edges and beside them.
        for (turn, many) in [300, 723, 1, 1_023, 1, 1_500, 40, 900].into_iter().enumerate() {
            let store = if turn % 2 == 0 { &one } else { &other };
            store.apply(commit(next, many)).await.expect("applies");
            next += many;
            for (from, until) in [(0, 200), (50_000, 50_400), (99_000, 100_000), (100_000, 200_000)] {
                let mut wanted: Vec<u64> =
                    (1..next).filter(|position| (from..until).contains(&time_of(*position))).collect();
                for handle in [&one, &other] {
                    let found = positions(handle, from, until, Direction::Forward).await;
                    assert_eq!(found, wanted, "{from}..{until} of {next}");
                }
                wanted.reverse();
                let found = positions(&one, from, until, Direction::Backward).await;
                assert_eq!(found, wanted, "backwards, {from}..{until} of {next}");
            }
        }
        assert_sound(&one).await;
    });
    let conn = rusqlite::Connection::open(&path).expect("opens");
    let zones: i64 = conn.query_row("SELECT count(*) FROM zones", [], |row| row.get(0)).expect("counts");
    assert_eq!(zones, 4, "one for each block that is complete, and no other");
}
