//! Rows about blind changes: applied by the engine to what is there then.

use bytes::Bytes;
use tidings_core::{BlindChange, Commit, DocumentChange};

use super::{
    Fresh,
    documents::{get, value},
    kit::{Outcome, append, put, same, write},
    show::{everything, untouched},
};
use crate::Error;

table![
    "blind: an addition adds, also to what is not there" => add,
    "blind: a maximum only raises" => max,
    "blind: a merge sets, goes deep and removes" => merge,
    "blind: changes of one write apply in their order" => in_order,
    "blind: every change gives the document a new version" => versioned,
    "blind: what cannot be applied is refused and writes nothing" => refused,
];

fn blind(id: &str, changes: Vec<BlindChange>) -> Commit {
    Commit { documents: vec![write(id, DocumentChange::Blind(changes))], ..Commit::default() }
}

pub(super) fn added(id: &str, field: &str, by: i64) -> Commit {
    blind(id, vec![BlindChange::Add { field: field.into(), by }])
}

fn raised(id: &str, field: &str, to: i64) -> Commit {
    blind(id, vec![BlindChange::Max { field: field.into(), to }])
}

fn merged(id: &str, patch: &'static str) -> Commit {
    blind(id, vec![BlindChange::Merge(Bytes::from_static(patch.as_bytes()))])
}

async fn add(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(added("d", "n", 3)).await?;
    same("on nothing", value(store, "d").await?.as_deref(), Some(r#"{"n":3}"#))?;
    store.apply(added("d", "n", -5)).await?;
    store.apply(added("d", "m", i64::MAX)).await?;
    same("added", value(store, "d").await?.as_deref(), Some(r#"{"m":9223372036854775807,"n":-2}"#))?;
    store.apply(put("e", r#"{"n":null,"text":"kept"}"#)).await?;
    store.apply(added("e", "n", 1)).await?;
    same("on null", value(store, "e").await?.as_deref(), Some(r#"{"n":1,"text":"kept"}"#))
}

async fn max(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    for (to, wanted) in
        [(-5, -5), (-7, -5), (3, 3), (2, 3), (3, 3), (i64::MAX, i64::MAX), (i64::MIN, i64::MAX)]
    {
        store.apply(raised("d", "m", to)).await?;
        same("the maximum", value(store, "d").await?, Some(format!(r#"{{"m":{wanted}}}"#)))?;
    }
    Ok(())
}

async fn merge(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(merged("d", r#"{"a":{"b":1,"c":null},"x":[1,null]}"#)).await?;
    same("on nothing", value(store, "d").await?.as_deref(), Some(r#"{"a":{"b":1},"x":[1,null]}"#))?;
    store.apply(merged("d", r#"{"a":{"b":null,"d":{"e":2}},"x":"text","y":1}"#)).await?;
    same("deep", value(store, "d").await?.as_deref(), Some(r#"{"a":{"d":{"e":2}},"x":"text","y":1}"#))?;
    store.apply(merged("d", r#"{"a":null,"x":null,"never":null}"#)).await?;
    same("removed", value(store, "d").await?.as_deref(), Some(r#"{"y":1}"#))
}

async fn in_order(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let merge = |text: &'static str| BlindChange::Merge(Bytes::from_static(text.as_bytes()));
    store.apply(put("d", r#"{"n":10}"#)).await?;
    let changes = vec![
        BlindChange::Add { field: "n".into(), by: 1 },
        BlindChange::Max { field: "n".into(), to: 20 },
        BlindChange::Add { field: "n".into(), by: 1 },
        merge(r#"{"n":5,"k":1}"#),
        BlindChange::Add { field: "n".into(), by: 1 },
        merge(r#"{"k":null}"#),
        BlindChange::Add { field: "k".into(), by: 7 },
    ];
    store.apply(blind("d", changes)).await?;
    same("the document", value(store, "d").await?.as_deref(), Some(r#"{"k":7,"n":6}"#))
}

async fn versioned(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let mut last = 0;
    for commit in
        [added("d", "n", 1), added("d", "n", 0), raised("d", "n", 0), merged("d", "{}"), blind("d", vec![])]
    {
        let revision = store.apply(commit).await?.revision;
        ensure!(revision > last, "revision {revision} after {last}");
        last = revision;
        same("the document", get(store, "d").await?, Some((revision, r#"{"n":1}"#.to_owned())))?;
    }
    Ok(())
}

async fn refused(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(put("list", "[]")).await?;
    store.apply(put("text", r#"{"n":"one"}"#)).await?;
    store.apply(put("full", r#"{"n":9223372036854775807}"#)).await?;
    let before = everything(store).await?;
    for wrong in [
        added("list", "n", 1),
        merged("list", "{}"),
        added("text", "n", 1),
        raised("text", "n", 1),
        added("full", "n", 1),
        merged("text", "[]"),
        merged("text", "no JSON"),
    ] {
        let mut beside = wrong;
        beside.documents.insert(0, write("sound", DocumentChange::Put(Bytes::from_static(b"{}"))));
        beside.appends.push(append("a", &["1"]));
        let answer = store.apply(beside).await;
        ensure!(matches!(answer, Err(Error::Refused(_))), "a change that cannot be was answered {answer:?}");
        untouched("a change that cannot be applied", store, &before).await?;
    }
    Ok(())
}
