//! The reference engine passes the suite it is the reference for.

use std::sync::Arc;

use tidings_core::{ManualClock, Timestamp};
use tidings_store::{MemoryStore, contract};

async fn fresh() -> contract::Fresh {
    let clock = ManualClock::at(Timestamp::from_millis(1_700_000_000_000));
    contract::Fresh::new(Arc::new(MemoryStore::new(Arc::new(clock.clone()))), clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_every_promise_of_the_port() {
    contract::run(fresh).await;
}

/// Histories that never meet a conflict prove little, so each kind of answer must come up.
const ANSWERS: [&str; 12] = [
    "applied",
    "repeated",
    "WrongVersion",
    "Matched",
    "PartlyKnown",
    "IdReused",
    "DocumentChanged",
    "DueTaken",
    "CheckpointMoved",
    "Fenced",
    "Refused",
    "Read",
];

#[tokio::test]
async fn memory_tells_every_history_as_the_model_does_and_each_kind_of_answer_comes_up() {
    let told = contract::histories(fresh, 0..40, 300).await;
    // A seed from the environment replays one history, which need not have every kind.
    if told.len() == 40 {
        for kind in ANSWERS {
            let times: u64 = told.iter().filter_map(|history| history.answers.get(kind)).sum();
            assert!(times >= 40, "{kind} came up {times} times in 40 histories");
        }
    }
}

#[tokio::test]
async fn a_seed_alone_decides_a_history() {
    let first = contract::histories(fresh, [7], 300).await;
    let second = contract::histories(fresh, [7], 300).await;
    let other = contract::histories(fresh, [8], 300).await;
    assert_eq!(first, second);
    if first[0].seed != other[0].seed {
        assert_ne!(first[0].transcript, other[0].transcript);
    }
}
