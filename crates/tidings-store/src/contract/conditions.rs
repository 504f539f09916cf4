//! Rows about conditions: nothing matching a query may have been recorded since.

use tidings_core::{Commit, EventQuery, NothingSince, Pattern, Text};

use super::{
    Fresh,
    append::applied,
    kit::{Failed, Outcome, commit, failed, named, nobody, one, pattern, refuses, same, tenant},
    show::{everything, untouched},
};
use crate::{AnyStore, Error};

table![
    "condition: by patterns of names, any of which matches" => by_names,
    "condition: by tags, all of which an event carries" => by_tags,
    "condition: by stream" => by_stream,
    "condition: by name, tags and stream together" => together,
    "condition: an empty query matches every event" => empty,
    "condition: what is at or before its position does not count" => after,
    "condition: a commit of several holds only if each does" => several,
    "condition: a commit's own events do not count" => own_events,
    "condition: other tenants' events do not count" => tenants,
    "condition: one that does not hold writes nothing" => writes_nothing,
];

fn query(names: &[&str], tags: &[&str], stream: Option<&str>) -> EventQuery {
    let names: Vec<Pattern> = names.iter().map(|name| pattern(name)).collect();
    EventQuery {
        names,
        tags: tags.iter().map(|tag| Text::from(*tag)).collect(),
        stream: stream.map(Text::from),
    }
}

fn since(query: EventQuery, after: u64) -> NothingSince {
    NothingSince { query, after }
}

/// Six events: their streams, names and tags.
const LOG: [(&str, &str, &[&str]); 6] = [
    ("order-1", "order.placed", &["customer:7", "shop:north"]),
    ("order-2", "order.placed", &["customer:8"]),
    ("order-1", "order.line.added", &["customer:7"]),
    ("user-7", "user.renamed", &["customer:7", "shop:south"]),
    ("order-2", "order.shipped", &[]),
    ("order-1", "order.shipped", &["customer:77", "shop:north"]),
];

async fn fill(store: &AnyStore) -> Outcome {
    for (at, (stream, name, tags)) in LOG.iter().enumerate() {
        let tags: Vec<Text> = tags.iter().map(|tag| Text::from(*tag)).collect();
        store.apply(one(stream, named(&format!("e{at}"), name).tags(tags))).await?;
    }
    Ok(())
}

/// Asks both ways: as a read and as a condition. `first` is the first match after `after`, if there is one.
async fn ask(store: &AnyStore, query: EventQuery, after: u64, first: Option<u64>) -> Outcome {
    let what = format!("{query:?} after {after}");
    same(&what, store.first_match(&nobody(), &query, after).await?, first)?;
    let before = store.head().await?;
    let id = format!("probe {what}");
    // A name and a stream that no query of these rows means, so that probes do not answer later ones.
    let probe = Commit { conditions: vec![since(query, after)], ..one("probes", named(&id, "probe")) };
    let answer = store.apply(probe).await;
    match first {
        Some(position) => {
            refuses(&what, answer, &Error::Matched { position, after })?;
            same("the head", store.head().await?, before)
        }
        None => same(&what, answer?.first, before + 1),
    }
}

async fn filled(fresh: Fresh) -> Result<AnyStore, Failed> {
    fill(&fresh.store).await?;
    Ok(fresh.store)
}

async fn by_names(fresh: Fresh) -> Outcome {
    let store = &filled(fresh).await?;
    for (names, first) in [
        (&["order.placed"][..], Some(1)),
        (&["order.shipped"], Some(5)),
        (&["order.*"], Some(1)),
        (&["order.*.added"], Some(3)),
        (&["*.renamed"], Some(4)),
        (&["user.**"], Some(4)),
        (&["**.added"], Some(3)),
        (&["order.shipped", "user.renamed"], Some(4)),
        (&["order"], None),
        (&["order.*.*.*"], None),
        (&["Order.placed"], None),
        (&["order_placed", "user.*.*"], None),
    ] {
        ask(store, query(names, &[], None), 0, first).await?;
    }
    Ok(())
}

async fn by_tags(fresh: Fresh) -> Outcome {
    let store = &filled(fresh).await?;
    for (tags, first) in [
        (&["customer:7"][..], Some(1)),
        (&["customer:8"], Some(2)),
        (&["customer:77"], Some(6)),
        (&["shop:south"], Some(4)),
        (&["shop:south", "customer:7"], Some(4)),
        (&["customer:77", "shop:north"], Some(6)),
        (&["customer:8", "shop:north"], None),
        (&["customer:"], None),
        (&["CUSTOMER:7"], None),
    ] {
        ask(store, query(&[], tags, None), 0, first).await?;
    }
    Ok(())
}

async fn by_stream(fresh: Fresh) -> Outcome {
    let store = &filled(fresh).await?;
    for (stream, first) in
        [("order-1", Some(1)), ("order-2", Some(2)), ("user-7", Some(4)), ("order", None), ("order-3", None)]
    {
        ask(store, query(&[], &[], Some(stream)), 0, first).await?;
    }
    Ok(())
}

async fn together(fresh: Fresh) -> Outcome {
    let store = &filled(fresh).await?;
    for (names, tags, stream, first) in [
        (&["order.**"][..], &["customer:7"][..], Some("order-1"), Some(1)),
        (&["order.line.*"], &["customer:7"], Some("order-1"), Some(3)),
        (&["order.shipped", "user.renamed"], &["shop:north"], None, Some(6)),
        (&["order.placed"], &["shop:south"], None, None),
        (&["order.placed"], &["customer:8"], Some("order-1"), None),
        (&["user.*"], &["customer:7"], Some("order-1"), None),
    ] {
        ask(store, query(names, tags, stream), 0, first).await?;
    }
    Ok(())
}

async fn empty(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    same("in an empty store", store.first_match(&nobody(), &EventQuery::default(), 0).await?, None::<u64>)?;
    let commit = Commit { conditions: vec![since(EventQuery::default(), 0)], ..commit("a", &["1"]) };
    same("as the first event", store.apply(commit).await?, applied(1, 1, 1))?;
    ask(store, EventQuery::default(), 0, Some(1)).await?;
    ask(store, query(&["**"], &[], None), 0, Some(1)).await
}

async fn after(fresh: Fresh) -> Outcome {
    let store = &filled(fresh).await?;
    let tagged = || query(&[], &["customer:7"], None);
    for (after, first) in [(0, 1), (1, 3), (2, 3), (3, 4)] {
        ask(store, tagged(), after, Some(first)).await?;
    }
    ask(store, tagged(), 4, None).await?;
    ask(store, query(&["order.shipped"], &[], None), 5, Some(6)).await?;
    ask(store, query(&["order.shipped"], &[], None), 6, None).await?;
    ask(store, query(&["order.shipped"], &[], None), 1_000, None).await?;
    ask(store, query(&["order.shipped"], &[], None), u64::MAX, None).await
}

async fn several(fresh: Fresh) -> Outcome {
    let store = &filled(fresh).await?;
    let holds = || since(query(&["order.cancelled"], &[], None), 0);
    let fails = || since(query(&["order.shipped"], &[], None), 5);
    let fails_too = || since(query(&[], &["customer:8"], None), 0);
    let with = |id: &str, conditions: Vec<NothingSince>| Commit { conditions, ..commit("probes", &[id]) };
    let answer = store.apply(with("p", vec![holds(), fails()])).await;
    refuses("the second fails", answer, &Error::Matched { position: 6, after: 5 })?;
    let answer = store.apply(with("p", vec![fails(), fails_too(), holds()])).await;
    refuses("the first fails first", answer, &Error::Matched { position: 6, after: 5 })?;
    let answer = store.apply(with("p", vec![fails_too(), fails()])).await;
    refuses("in the order given", answer, &Error::Matched { position: 2, after: 0 })?;
    same("both hold", store.apply(with("p", vec![holds(), holds()])).await?.first, 7)
}

async fn own_events(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let shipped = || since(query(&["order.shipped"], &[], None), 0);
    let ship = |id: &str| Commit { conditions: vec![shipped()], ..one("a", named(id, "order.shipped")) };
    same("the first", store.apply(ship("1")).await?, applied(1, 1, 1))?;
    refuses("the second", store.apply(ship("2")).await, &Error::Matched { position: 1, after: 0 })?;
    ensure!(store.apply(ship("1")).await?.repeated, "a repeat whose own event matches is no repeat");
    Ok(())
}

async fn tenants(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let guarded = |of: &str, id: &str| Commit {
        tenant: tenant(of),
        conditions: vec![since(query(&["order.*"], &[], None), 0)],
        ..commit("a", &[id])
    };
    same("one tenant", store.apply(guarded("acme", "1")).await?.first, 1)?;
    same("another tenant", store.apply(guarded("other", "2")).await?.first, 2)?;
    same("no tenant", store.apply(guarded("", "3")).await?.first, 3)?;
    let answer = store.apply(guarded("other", "4")).await;
    refuses("its own event", answer, &Error::Matched { position: 2, after: 0 })?;
    let all = query(&["order.*"], &[], None);
    same("asked", store.first_match(&tenant("other"), &all, 0).await?, Some(2))?;
    same("asked after it", store.first_match(&tenant("other"), &all, 2).await?, None::<u64>)
}

async fn writes_nothing(fresh: Fresh) -> Outcome {
    let store = &filled(fresh).await?;
    let before = everything(store).await?;
    let mut guarded = commit("b", &["1"]);
    guarded.conditions = vec![since(query(&[], &["customer:7"], None), 1)];
    guarded.documents = super::kit::put("d", "{}").documents;
    guarded.blobs = super::kit::blob("b0", b"x").blobs;
    let Err(Error::Matched { position: 3, after: 1 }) = store.apply(guarded).await else {
        return Err(failed("the condition was not refused with its first match"));
    };
    untouched("a condition that does not hold", store, &before).await
}
