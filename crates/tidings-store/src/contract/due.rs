//! Rows about due rows: in order, replaced, and taken once.

use bytes::Bytes;
use tidings_core::{Commit, DueChange, DueRow, Tenant, Text, Timestamp};

use super::{
    Fresh,
    kit::{Failed, Outcome, append, due, due_row, put, refuses, same, take},
    show::{everything, untouched},
};
use crate::{AnyStore, Error, Tenants};

table![
    "due: rows come in order of time, then id" => ordered,
    "due: until includes its moment, and a limit cuts" => until,
    "due: a row comes back whole" => whole,
    "due: a second row with the same id replaces the first" => replaced,
    "due: a row is taken once" => taken_once,
    "due: rows to take are looked for as they are before the commit" => before_the_commit,
    "due: changes of one commit apply in their order" => in_order,
    "due: dropping what is not there is no fault" => dropped,
    "due: queues are told apart" => queues,
];

fn put_all(rows: impl IntoIterator<Item = DueRow>) -> Commit {
    due(rows.into_iter().map(DueChange::Put).collect::<Vec<_>>())
}

fn drop_row(id: &str) -> DueChange {
    DueChange::Drop { queue: Text::from("timers"), id: Text::from(id) }
}

fn taken(id: &str) -> Error {
    Error::DueTaken { queue: Text::from("timers"), id: Text::from(id) }
}

async fn list(store: &AnyStore, until_ms: i64, limit: usize) -> Result<Vec<String>, Failed> {
    let rows = store.due(&Tenants::default(), "timers", Timestamp::from_millis(until_ms), limit).await?;
    Ok(rows.into_iter().map(|(_, row)| row.id.to_string()).collect())
}

async fn whole_list(store: &AnyStore) -> Result<Vec<String>, Failed> {
    list(store, i64::MAX, usize::MAX).await
}

async fn ordered(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    same("nothing", whole_list(store).await?, Vec::<String>::new())?;
    let rows =
        [("d", 10), ("c", 30), ("B", 20), ("b", 20), ("a", 20), ("é", 20), ("z", -5), ("10", 20), ("9", 20)];
    for (id, at) in rows {
        store.apply(put_all([due_row(id, at)])).await?;
    }
    same("all", whole_list(store).await?, ["z", "d", "10", "9", "B", "a", "b", "é", "c"])
}

async fn until(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(put_all([due_row("a", 10), due_row("b", 20), due_row("c", 20), due_row("d", 30)])).await?;
    let exact = DueRow { due: Timestamp::from_micros(30_001), ..due_row("e", 0) };
    store.apply(put_all([exact])).await?;
    for (until, limit, wanted) in [
        (9, 10, &[][..]),
        (10, 10, &["a"]),
        (19, 10, &["a"]),
        (20, 10, &["a", "b", "c"]),
        (20, 2, &["a", "b"]),
        (20, 3, &["a", "b", "c"]),
        (30, 10, &["a", "b", "c", "d"]),
        (31, 10, &["a", "b", "c", "d", "e"]),
        (31, 0, &[]),
        (31, 1, &["a"]),
    ] {
        same(&format!("until {until}, at most {limit}"), list(store, until, limit).await?, wanted)?;
    }
    Ok(())
}

async fn whole(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let rows = [
        DueRow {
            queue: "timers".into(),
            id: "1".into(),
            due: Timestamp::from_micros(i64::MIN),
            body: Bytes::new(),
        },
        DueRow {
            queue: "timers".into(),
            id: "ü 🦀".into(),
            due: Timestamp::from_micros(1_234_567),
            body: (0..=255_u8).collect(),
        },
        DueRow {
            queue: "timers".into(),
            id: "last".into(),
            due: Timestamp::MAX,
            body: Bytes::from(vec![0; 70_000]),
        },
    ];
    store.apply(put_all(rows.clone())).await?;
    let found = store.due(&Tenants::default(), "timers", Timestamp::MAX, 10).await?;
    same("the rows", found, rows.map(|row| (Tenant::default(), row)).to_vec())
}

async fn replaced(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(put_all([due_row("a", 10), due_row("b", 20)])).await?;
    let later = DueRow { body: Bytes::from_static(b"later"), ..due_row("a", 30) };
    store.apply(put_all([later.clone()])).await?;
    same("in its new place", whole_list(store).await?, ["b", "a"])?;
    let found = store.due(&Tenants::default(), "timers", Timestamp::MAX, 10).await?;
    same("the row", found.last().map(|(_, row)| row), Some(&later))?;
    same("counted", store.stats().await?.due, [("timers".to_owned(), 2)])
}

async fn taken_once(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(put_all([due_row("a", 10), due_row("b", 20)])).await?;
    store.apply(due([take("a")])).await?;
    same("what is left", whole_list(store).await?, ["b"])?;
    let before = everything(store).await?;
    let mut again = due([take("b"), take("a")]);
    again.appends.push(append("a", &["1"]));
    again.documents = put("d", "{}").documents;
    refuses("a second time", store.apply(again).await, &taken("a"))?;
    refuses("what never was", store.apply(due([take("c")])).await, &taken("c"))?;
    untouched("taking what has been taken", store, &before).await?;
    store.apply(put_all([due_row("a", 5)])).await?;
    store.apply(due([take("a"), take("b")])).await?;
    same("put and taken again", whole_list(store).await?, Vec::<String>::new())
}

async fn before_the_commit(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let answer = store.apply(due([DueChange::Put(due_row("a", 1)), take("a")])).await;
    refuses("put and taken in one commit", answer, &taken("a"))?;
    same("nothing was put", whole_list(store).await?, Vec::<String>::new())?;
    store.apply(put_all([due_row("a", 1)])).await?;
    store.apply(due([drop_row("a"), take("a")])).await?;
    same("dropped and taken in one commit", whole_list(store).await?, Vec::<String>::new())
}

async fn in_order(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(put_all([due_row("a", 1), due_row("b", 1), due_row("b", 2)])).await?;
    store.apply(due([take("a"), DueChange::Put(due_row("a", 9))])).await?;
    same("taken and put", whole_list(store).await?, ["b", "a"])?;
    store
        .apply(due([
            DueChange::Put(due_row("c", 3)),
            drop_row("c"),
            DueChange::Put(due_row("b", 10)),
            take("b"),
        ]))
        .await?;
    same("put and dropped", whole_list(store).await?, ["a"])?;
    store.apply(due([drop_row("a"), DueChange::Put(due_row("a", 4))])).await?;
    same("dropped and put", list(store, 4, 10).await?, ["a"])
}

async fn dropped(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(put_all([due_row("a", 1), due_row("b", 2)])).await?;
    store.apply(due([drop_row("a"), drop_row("a"), drop_row("never")])).await?;
    same("what is left", whole_list(store).await?, ["b"])?;
    refuses("taking what was dropped", store.apply(due([take("a")])).await, &taken("a"))
}

async fn queues(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let names = ["timers", "Timers", "timers2", "$parked"];
    for (at, queue) in (0..).zip(names) {
        store.apply(put_all([DueRow { queue: Text::from(queue), ..due_row("same", at) }])).await?;
    }
    for (at, queue) in (0..).zip(names) {
        let rows = store.due(&Tenants::default(), queue, Timestamp::MAX, 10).await?;
        same(queue, rows.iter().map(|(_, row)| row.due.as_millis()).collect::<Vec<_>>(), [at])?;
    }
    store.apply(due([take("same")])).await?;
    let counted = store.stats().await?.due;
    same("counted", counted, ["$parked", "Timers", "timers2"].map(|queue| (queue.to_owned(), 1)).to_vec())
}
