//! The process killed at random moments, over and over, on one store: what was acknowledged is there, and the store is
//! open again at once.

mod support;

use std::{
    collections::HashMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use support::{
    Dice, Running, assert_sound, child, folder, open, path_text, placed, runtime, say, seed, told,
};
use tidings_store::{Lease, Read, Store as _};

const KILLS: u64 = 60;

/// How long opening may take after a kill; it takes milliseconds.
const OPENING_MAX: Duration = Duration::from_secs(5);

/// Appends without end, from several tasks, and says what was acknowledged.
fn append_for_ever(path: &Path, round: &str) {
    let store = Arc::new(open(path));
    say("open");
    runtime().block_on(async {
        let mut tasks = Vec::new();
        for task in 0..4 {
            let (store, round) = (store.clone(), round.to_owned());
            tasks.push(tokio::spawn(async move {
                for number in 0_u64.. {
                    let id = format!("{round}-{task}-{number}");
                    let applied =
                        store.apply(placed(&id, &format!("k{}", number % 7))).await.expect("applies");
                    say(&format!("ack {id} {}", applied.first));
                }
            }));
        }
        for task in tasks {
            task.await.expect("never ends");
        }
    });
}

#[test]
fn a_process_killed_at_any_moment_loses_nothing_it_acknowledged() {
    if let Some(words) = told() {
        return append_for_ever(Path::new(&words[0]), &words[1]);
    }
    let (_kept, path) = folder();
    let mut dice = Dice(seed());
    let mut acked: HashMap<String, u64> = HashMap::new();
    let mut slowest = Duration::ZERO;
    for round in 0..KILLS {
        let test = "a_process_killed_at_any_moment_loses_nothing_it_acknowledged";
        let mut running = Running::start(&mut child(test, &[path_text(&path), &round.to_string()]));
        // Some are killed while they open the store, the others after so many answers.
        for _ in 0..dice.below(400) {
            let line = running.hear().expect("it runs until it is killed");
            remember(&mut acked, &line);
        }
        running.process.kill().expect("can be killed");
        while let Some(line) = running.hear() {
            remember(&mut acked, &line);
        }
        let begun = Instant::now();
        let store = open(&path);
        slowest = slowest.max(begun.elapsed());
        runtime().block_on(async {
            let there: HashMap<String, u64> = support::whole_log(&store)
                .await
                .iter()
                .map(|event| (event.envelope.id().to_string(), event.position))
                .collect();
            for (id, position) in &acked {
                assert_eq!(there.get(id), Some(position), "round {round}: {id} was acknowledged");
            }
        });
    }
    assert!(slowest < OPENING_MAX, "opening after a kill took {slowest:?}");
    assert!(acked.len() > 1_000, "{} were acknowledged", acked.len());
    let store = open(&path);
    runtime().block_on(assert_sound(&store));
}

fn remember(acked: &mut HashMap<String, u64>, line: &str) {
    if let Some((id, position)) = line.strip_prefix("ack ").and_then(|ack| ack.split_once(' ')) {
        acked.insert(id.to_owned(), position.parse().expect("a position"));
    }
}

#[test]
fn a_lease_is_free_at_once_when_the_process_that_had_it_is_killed() {
    let span = Duration::from_secs(3_600);
    if let Some(words) = told() {
        let store = open(Path::new(&words[0]));
        let lease = runtime().block_on(store.lease("l", "child", span)).expect("asks");
        say(&format!("{lease:?}"));
        return std::thread::park();
    }
    let (_kept, path) = folder();
    let store = open(&path);
    let runtime = runtime();
    let test = "a_lease_is_free_at_once_when_the_process_that_had_it_is_killed";
    let mut running = Running::start(&mut child(test, &[path_text(&path)]));
    assert_eq!(running.hear().as_deref(), Some("Granted { epoch: 1 }"));
    runtime.block_on(async {
        let held = store.lease("l", "parent", span).await.expect("asks");
        assert!(matches!(held, Lease::Held { by, .. } if &*by == "child"));
        assert_eq!(store.holder("l").await.expect("reads").as_deref(), Some("child"));
        running.kill();
        assert_eq!(store.holder("l").await.expect("reads"), None);
        assert_eq!(store.lease("l", "parent", span).await.expect("asks"), Lease::Granted { epoch: 2 });
    });
    // The file the child left behind is removed by the next who opens the store.
    let left = || {
        let names = std::fs::read_dir(path.parent().expect("a folder")).expect("reads");
        names
            .filter(|name| name.as_ref().expect("a name").file_name().to_string_lossy().contains("-node-"))
            .count()
    };
    assert_eq!(left(), 2);
    let _another = open(&path);
    assert_eq!(left(), 1);
}

#[test]
fn a_page_read_while_others_write_never_has_a_gap() {
    let (_kept, path) = folder();
    let store = Arc::new(open(&path));
    const EVENTS: u64 = 4_000;
    runtime().block_on(async {
        let writers: Vec<_> = (0..8_u64)
            .map(|writer| {
                let store = store.clone();
                tokio::spawn(async move {
                    for number in 0..EVENTS / 8 {
                        store.apply(placed(&format!("{writer}-{number}"), "k")).await.expect("applies");
                    }
                })
            })
            .collect();
        // One reads by the handle that writes (its ring), one by a handle of its own (the file).
        let other = Arc::new(open(&path));
        let readers = [store.clone(), other].map(|store| {
            tokio::spawn(async move {
                let mut beats = store.beats();
                let mut last = 0;
                while last < EVENTS {
                    let page = store.read(&Read::after(last).limit(100)).await.expect("reads");
                    for event in &page.events {
                        assert_eq!(event.position, last + 1, "a gap");
                        last += 1;
                    }
                    assert_eq!(page.next, last);
                    if page.end && last < EVENTS {
                        beats.changed().await.expect("the store lives");
                    }
                }
            })
        });
        for task in writers.into_iter().chain(readers) {
            task.await.expect("succeeds");
        }
    });
}
