//! Rows about many writers at once: each answer is right, whatever shares a group with it.

use std::{collections::BTreeSet, time::Duration};

use tidings_core::{Commit, DueChange, EventQuery, Expected, NothingSince, Text};

use super::{
    Fresh,
    blind::added,
    documents::value,
    kit::{Outcome, all, append, check_page, commit, due, due_row, failed, ids, same, take},
    show::recorded,
    together::{apply_all, place, sound, together},
};
use crate::{Error, Lease, Read};

table![
    "concurrent: what many append is all there, once, where their answers say" => appenders,
    "concurrent: of many that expect one version, one gets it" => one_version,
    "concurrent: of many under one condition, one is written" => one_condition,
    "concurrent: the same commit many times is written once, with one answer" => same_commit,
    "concurrent: only the guilty commit of a group fails" => guilty,
    "concurrent: blind additions are never lost" => additions,
    "concurrent: a due row is taken by one" => one_taker,
    "concurrent: a lease goes to one" => one_holder,
    "concurrent: a reader that follows the log never misses a position" => follower,
];

const WRITERS: usize = 16;

async fn appenders(fresh: Fresh) -> Outcome {
    const ROUNDS: usize = 10;
    let store = &fresh.store;
    let answers = together(WRITERS, |writer| {
        let store = store.clone();
        async move {
            let mut answers = Vec::new();
            for round in 0..ROUNDS {
                let own = format!("{writer}/{round}");
                let shared = [format!("{own}a"), format!("{own}b")];
                let shared = append("shared", &[&shared[0], &shared[1]]);
                let own = append(&format!("own-{writer}"), &[&own]);
                answers.push((writer, round, store.apply(super::kit::commits([shared, own])).await));
            }
            answers
        }
    })
    .await?;
    let log = all(store, Read::after(0)).await?;
    same("events", log.len(), WRITERS * ROUNDS * 3)?;
    sound(&log)?;
    for (writer, round, answer) in answers.into_iter().flatten() {
        let answer = answer?;
        let own = format!("{writer}/{round}");
        same("the span of one commit", answer.last, answer.first + 2)?;
        let from = place(answer.first);
        let events = log.iter().skip(from).take(3).cloned().collect::<Vec<_>>();
        same("what is at the answer's positions", ids(&events), [format!("{own}a"), format!("{own}b"), own])?;
        let version = events.last().map(|event| event.version);
        same("the version of its last", Some(answer.version), version)?;
        same("in order of its writer", version, Some(round as u64 + 1))?;
    }
    Ok(())
}

async fn one_version(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    for round in 0..5_u64 {
        let answers = apply_all(store, WRITERS, |writer| {
            Commit::append(append("a", &[&format!("{round}/{writer}")]).expecting(Expected::Exact(round)))
        })
        .await?;
        let won = answers.iter().filter(|answer| answer.is_ok()).count();
        same("winners", won, 1)?;
        let lost = Error::WrongVersion {
            stream: Text::from("a"),
            expected: Expected::Exact(round),
            actual: round + 1,
        };
        for answer in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            same("a loser's answer", answer, &lost)?;
        }
    }
    sound(&all(store, Read::after(0)).await?)?;
    same("the head", store.head().await?, 5)
}

async fn one_condition(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(commit("before", &["before"])).await?;
    let answers = apply_all(store, WRITERS, |writer| {
        let query = EventQuery { names: vec![super::kit::pattern("order.*")], ..EventQuery::default() };
        let stream = format!("s{writer}");
        Commit {
            conditions: vec![NothingSince { query, after: 1 }],
            ..commit(&stream, &[&format!("{writer}")])
        }
    })
    .await?;
    same("winners", answers.iter().filter(|answer| answer.is_ok()).count(), 1)?;
    for answer in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        same("a loser's answer", answer, &Error::Matched { position: 2, after: 1 })?;
    }
    same("the head", store.head().await?, 2)
}

async fn same_commit(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let answers = apply_all(store, WRITERS, |_| {
        let both = super::kit::commits([append("a", &["1", "2"]), append("b", &["3"])]);
        Commit { documents: added("d", "n", 1).documents, ..both }
    })
    .await?;
    let mut fresh_answers = 0;
    for answer in answers {
        let answer = answer?;
        same("the answer", (answer.first, answer.last, answer.version), (1, 3, 1))?;
        fresh_answers += usize::from(!answer.repeated);
    }
    same("not repeated", fresh_answers, 1)?;
    same("the head", store.head().await?, 3)?;
    same("the document", value(store, "d").await?.as_deref(), Some(r#"{"n":1}"#))
}

async fn guilty(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(commit("known", &["known"])).await?;
    const MANY: usize = 64;
    // Three of four are innocent; the others fail for different reasons.
    let work = |at: usize| {
        let stream = format!("s{}", at % 8);
        let id = format!("{at}");
        let innocent = Commit { documents: added("d", "n", 1).documents, ..commit(&stream, &[&id]) };
        match at % 16 {
            3 => Commit::append(append("known", &[&id]).expecting(Expected::None)),
            7 => commit("known", &["known", &id]),
            11 => Commit { due: vec![take("never")], ..innocent },
            15 => commit(&stream, &[]),
            _ => innocent,
        }
    };
    let answers = apply_all(store, MANY, work).await?;
    for (at, answer) in answers.iter().enumerate() {
        let right = match (at % 16, answer) {
            (3, Err(Error::WrongVersion { .. }))
            | (7, Err(Error::PartlyKnown { .. }))
            | (11, Err(Error::DueTaken { .. }))
            | (15, Err(Error::Refused(_))) => true,
            (3 | 7 | 11 | 15, _) => false,
            (_, answer) => answer.is_ok(),
        };
        ensure!(right, "commit {at} was answered {answer:?}");
    }
    let log = all(store, Read::after(0)).await?;
    sound(&log)?;
    let innocent = MANY / 4 * 3;
    same("events", log.len(), innocent + 1)?;
    same("the document", value(store, "d").await?, Some(format!(r#"{{"n":{innocent}}}"#)))?;
    for answer in answers.into_iter().flatten() {
        let event = log.get(place(answer.first));
        let Some(event) = event else { return Err(failed("an answer is outside of the log")) };
        same("the version at an answer's position", event.version, answer.version)?;
    }
    Ok(())
}

async fn additions(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let answers =
        apply_all(store, 64, |at| added("d", if at % 2 == 0 { "even" } else { "odd" }, at as i64)).await?;
    let mut revisions = BTreeSet::new();
    for answer in answers {
        ensure!(revisions.insert(answer?.revision), "two writes of a document got one version");
    }
    same("the sums", value(store, "d").await?.as_deref(), Some(r#"{"even":992,"odd":1024}"#))
}

async fn one_taker(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(due([DueChange::Put(due_row("t", 1))])).await?;
    let answers = apply_all(store, WRITERS, |writer| Commit {
        due: vec![take("t")],
        ..commit("a", &[&format!("{writer}")])
    })
    .await?;
    same("takers", answers.iter().filter(|answer| answer.is_ok()).count(), 1)?;
    let lost = Error::DueTaken { queue: Text::from("timers"), id: Text::from("t") };
    for answer in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        same("a loser's answer", answer, &lost)?;
    }
    same("the head", store.head().await?, 1)
}

async fn one_holder(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let answers = together(WRITERS, |at| {
        let store = store.clone();
        async move { store.lease("l0", &format!("node {at}"), Duration::from_secs(9)).await }
    })
    .await?;
    let mut holders = Vec::new();
    for (at, answer) in answers.into_iter().enumerate() {
        match answer? {
            Lease::Granted { epoch } => {
                same("the epoch", epoch, 1)?;
                holders.push(format!("node {at}"));
            }
            Lease::Held { by, .. } => {
                same("held by", Some(by), store.holder("l0").await?)?;
            }
        }
    }
    same("holders", holders, [store.holder("l0").await?.unwrap_or_default().to_string()])
}

async fn follower(fresh: Fresh) -> Outcome {
    const EVENTS: u64 = 400;
    let store = &fresh.store;
    let writing = {
        let store = store.clone();
        tokio::spawn(async move {
            apply_all(&store, 200, |at| {
                commit(&format!("s{}", at % 3), &[&format!("{at}a"), &format!("{at}b")])
            })
            .await
        })
    };
    let (mut read, mut seen) = (Read::after(0).limit(7), Vec::new());
    while (seen.len() as u64) < EVENTS {
        let written = writing.is_finished();
        let page = store.read(&read).await?;
        check_page(&read, &page)?;
        read.from = page.next;
        for event in &page.events {
            same("the next position", event.position, seen.len() as u64 + 1)?;
            seen.push(recorded(event));
        }
        if page.end && (seen.len() as u64) < EVENTS {
            ensure!(!written, "all is written, and the log ends at position {}", seen.len());
            tokio::task::yield_now().await;
        }
    }
    for answer in writing.await.map_err(|panic| failed(&format!("the writers panicked: {panic}")))?? {
        answer?;
    }
    let log = all(store, Read::after(0)).await?;
    sound(&log)?;
    same("what was seen", seen, log.iter().map(recorded).collect::<Vec<_>>())
}
