//! Does the contract suite notice? Every engine here is wrong in one way, on purpose.
//!
//! `expected.txt` says for each of them which rows fail, and whether the histories see it. It is compared word by word,
//! so that a row that stops noticing, or that begins to complain of what it should not, is seen. With the environment
//! variable `TIDINGS_BLESS=1` it is written anew; read the difference before committing it.

mod bugs;
mod engine;
mod hooks;

use std::{
    collections::BTreeSet,
    fmt::Write,
    future::ready,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidings_core::{ManualClock, Timestamp};
use tidings_store::{AnyStore, contract};

use crate::{bugs::Bug, engine::Broken};

/// The line by which `expected.txt` says that random histories notice.
const HISTORIES: &str = "histories: an answer differs from the model's";

fn fresh(bug: &'static Bug) -> contract::Fresh {
    let clock = ManualClock::at(Timestamp::from_millis(1_700_000_000_000));
    let broken = Arc::new(Broken::new(bug.hooks, clock.clone()));
    let reopened = broken.clone();
    // What is written stays in memory; only what a flaw forgets is gone.
    let reopen = move |_: AnyStore| -> tidings_core::BoxFuture<'static, AnyStore> {
        reopened.restart();
        Box::pin(ready(reopened.clone() as AnyStore))
    };
    contract::Fresh::new(broken, clock).reopening(reopen).patience(Duration::from_millis(50))
}

/// What the suite says of a bug, as lines of `expected.txt`.
fn report(bug: &'static Bug) -> String {
    // One thread, no timer before a beat is missing: so that what happens is the same each time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let mut text = format!("{}\n", bug.name);
        for (row, _) in contract::failures(|| ready(fresh(bug))).await {
            let _ = writeln!(text, "    {row}");
        }
        for seed in 0..12 {
            if contract::history(fresh(bug), seed, 150).await.is_err() {
                let _ = writeln!(text, "    {HISTORIES}");
                break;
            }
        }
        text
    })
}

/// The reports of all bugs, in their order, made by as many threads as the machine has.
fn reports(bugs: &[&'static Bug]) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(vec![String::new(); bugs.len()]);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let at = bugs.iter().position(|other| other.name == bug.name).expect("it is one of them");
                    let report = report(bug);
                    done.lock().expect("no thread has panicked")[at] = report;
                }
            });
        }
    });
    done.into_inner().expect("no thread has panicked")
}

#[test]
fn every_bug_fails_the_rows_it_should_and_every_row_is_failed_by_a_bug() {
    let bugs = bugs::all();
    let names: BTreeSet<_> = bugs.iter().map(|bug| bug.name).collect();
    assert_eq!(names.len(), bugs.len(), "two bugs have one name");
    let reports = reports(&bugs);
    let found = reports.join("\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken/expected.txt");
    if std::env::var_os("TIDINGS_BLESS").is_some() {
        std::fs::write(&path, &found).expect("expected.txt can be written");
    }
    let unseen: Vec<_> = reports.iter().filter(|report| report.lines().count() == 1).collect();
    assert!(unseen.is_empty(), "bugs that nothing notices: {unseen:#?}");
    let noticing: BTreeSet<_> = found.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let rows = contract::rows().iter().map(|row| row.name);
    let idle: Vec<_> = rows.filter(|row| !noticing.contains(row)).collect();
    assert!(idle.is_empty(), "rows that no bug fails: {idle:#?}");
    let expected = std::fs::read_to_string(&path).expect("expected.txt can be read");
    for (wanted, got) in expected.split("\n\n").zip(found.split("\n\n")) {
        assert_eq!(got.trim_end(), wanted.trim_end(), "another report of a bug");
    }
    assert_eq!(found.trim_end(), expected.trim_end(), "another list of bugs");
}

#[test]
fn an_engine_without_a_bug_passes_where_the_broken_ones_fail() {
    static SOUND: Bug = Bug { name: "none", hooks: &[] };
    assert_eq!(report(&SOUND), "none\n");
}

#[test]
fn a_difference_says_how_to_replay_it_and_what_both_answered() {
    static LATE: Bug = Bug {
        name: "the head is one too far",
        hooks: &[hooks::Hook::Answer(|_, _, answer| {
            if let Ok(applied) = answer {
                applied.last += 1;
            }
        })],
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let told = runtime.block_on(contract::history(fresh(&LATE), 5, 100));
    let difference = told.expect_err("every first commit is answered otherwise");
    let text = difference.to_string();
    for part in ["TIDINGS_SEED=5", "step", &difference.asked, &difference.model, &difference.engine] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    assert_ne!(difference.model, difference.engine);
    let again = runtime.block_on(contract::history(fresh(&LATE), 5, 100));
    assert_eq!(again, Err(difference), "the same seed tells another history");
}
