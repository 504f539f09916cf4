//! Rows about filters: what each wants, alone and together, by log and by stream, both ways.

use std::time::Duration;

use tidings_core::{Pattern, Text, Timestamp};

use super::{
    Fresh,
    kit::{Outcome, all, ids, named, one, pattern, same},
};
use crate::{AnyStore, Filter, Read};

table![
    "filter: patterns of names, any of which matches" => names,
    "filter: the category is what a stream is called before its first dash" => category,
    "filter: all tags" => tags,
    "filter: the key, also where the stream does not show it" => by_key,
    "filter: recorded at or after, and before" => recorded,
    "filter: happened at or after, and before; without a time, when recorded" => happened,
    "filter: everything given must hold" => together,
];

/// Eight events, recorded at seconds 10, 20, …, 80.
async fn fill(fresh: &Fresh) -> Outcome {
    let happened = |second: i64| Timestamp::from_millis(second * 1_000);
    let events = [
        ("order-1", named("1", "order.placed").key("1").tag("shop", "north").tag("vip", true)),
        ("order-2", named("2", "order.placed").key("2").tag("shop", "south").time(happened(15))),
        ("order-1", named("3", "order.line.added").key("1").tag("shop", "north").time(happened(20))),
        ("user-1", named("4", "user.renamed").key("1").stream("user-1").time(happened(90))),
        (
            "archive",
            named("5", "order.placed").key("2").tag("shop", "north").stream("archive").time(happened(1)),
        ),
        ("order.eu-2", named("6", "order.shipped").key("x-2").tag("shop", "northern")),
        ("order", named("7", "order.audited").time(happened(60))),
        ("order-2-b", named("8", "order.placed").key("2-b").tag("vip", true).tag("shop", "north")),
    ];
    fresh.clock.set(Timestamp::from_millis(0));
    for (stream, event) in events {
        fresh.clock.advance(Duration::from_secs(10));
        fresh.store.apply(one(stream, event)).await?;
    }
    Ok(())
}

/// Asks the log, every stream, both ways and in small pages.
async fn ask(store: &AnyStore, filter: Filter, wanted: &[&str]) -> Outcome {
    let what = format!("{filter:?}");
    for limit in [1, 2, 1_000] {
        let events = all(store, Read::after(0).filter(filter.clone()).limit(limit)).await?;
        same(&what, ids(&events), wanted)?;
        let mut events = all(store, Read::newest().filter(filter.clone()).limit(limit)).await?;
        events.reverse();
        same(&format!("{what} backwards"), ids(&events), wanted)?;
    }
    for stream in ["order-1", "order-2", "user-1", "archive", "order.eu-2", "order", "order-2-b"] {
        let whole = ids(&all(store, Read::stream(stream)).await?);
        let wanted: Vec<_> = whole.into_iter().filter(|id| wanted.contains(&id.as_str())).collect();
        let events = all(store, Read::stream(stream).filter(filter.clone()).limit(1)).await?;
        same(&format!("{what} of {stream}"), ids(&events), wanted.as_slice())?;
        let mut events = all(store, Read::stream(stream).backward().filter(filter.clone())).await?;
        events.reverse();
        same(&format!("{what} of {stream} backwards"), ids(&events), wanted.as_slice())?;
    }
    Ok(())
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| pattern(text)).collect()
}

async fn names(fresh: Fresh) -> Outcome {
    fill(&fresh).await?;
    for (texts, wanted) in [
        (&["order.placed"][..], &["1", "2", "5", "8"][..]),
        (&["order.*"], &["1", "2", "5", "6", "7", "8"]),
        (&["order.**"], &["1", "2", "3", "5", "6", "7", "8"]),
        (&["*.*.added"], &["3"]),
        (&["**.renamed", "order.shipped"], &["4", "6"]),
        (&["order.placed", "order.*"], &["1", "2", "5", "6", "7", "8"]),
        (&["order", "ORDER.placed", "order.plac"], &[]),
    ] {
        ask(&fresh.store, Filter::names(patterns(texts)), wanted).await?;
    }
    Ok(())
}

async fn category(fresh: Fresh) -> Outcome {
    fill(&fresh).await?;
    for (category, wanted) in [
        ("order", &["1", "2", "3", "6", "7", "8"][..]),
        ("user", &["4"]),
        ("archive", &["5"]),
        ("ord", &[]),
        ("order-2", &[]),
        ("Order", &[]),
        ("", &[]),
    ] {
        let filter = Filter { category: Some(Text::from(category)), ..Filter::default() };
        ask(&fresh.store, filter, wanted).await?;
    }
    Ok(())
}

fn tagged(tags: &[&str]) -> Filter {
    Filter { tags: tags.iter().map(|tag| Text::from(*tag)).collect(), ..Filter::default() }
}

async fn tags(fresh: Fresh) -> Outcome {
    fill(&fresh).await?;
    for (tags, wanted) in [
        (&["shop:north"][..], &["1", "3", "5", "8"][..]),
        (&["vip:true"], &["1", "8"]),
        (&["shop:north", "vip:true"], &["1", "8"]),
        (&["vip:true", "shop:south"], &[]),
        (&["shop:northern"], &["6"]),
        (&["shop:"], &[]),
        (&["shop:north", "shop:north"], &["1", "3", "5", "8"]),
    ] {
        ask(&fresh.store, tagged(tags), wanted).await?;
    }
    Ok(())
}

async fn by_key(fresh: Fresh) -> Outcome {
    fill(&fresh).await?;
    for (key, wanted) in [
        ("1", &["1", "3", "4"][..]),
        ("2", &["2", "5"]),
        ("x-2", &["6"]),
        ("2-b", &["8"]),
        ("b", &[]),
        ("order", &[]),
        ("", &[]),
    ] {
        let filter = Filter { key: Some(Text::from(key)), ..Filter::default() };
        ask(&fresh.store, filter, wanted).await?;
    }
    Ok(())
}

fn seconds(from: i64, until: i64) -> Option<(Timestamp, Timestamp)> {
    Some((Timestamp::from_millis(from * 1_000), Timestamp::from_millis(until * 1_000)))
}

async fn recorded(fresh: Fresh) -> Outcome {
    fill(&fresh).await?;
    for (range, wanted) in [
        (seconds(20, 50), &["2", "3", "4"][..]),
        (seconds(0, 11), &["1"]),
        (seconds(80, 81), &["8"]),
        (seconds(81, 1_000), &[]),
        (seconds(30, 30), &[]),
        (seconds(50, 20), &[]),
        (Some((Timestamp::MIN, Timestamp::MAX)), &["1", "2", "3", "4", "5", "6", "7", "8"]),
        (Some((Timestamp::from_micros(20_000_001), Timestamp::from_micros(30_000_001))), &["3"]),
    ] {
        ask(&fresh.store, Filter { recorded: range, ..Filter::default() }, wanted).await?;
    }
    Ok(())
}

async fn happened(fresh: Fresh) -> Outcome {
    fill(&fresh).await?;
    for (range, wanted) in [
        (seconds(0, 11), &["1", "5"][..]),
        (seconds(15, 21), &["2", "3"]),
        (seconds(15, 20), &["2"]),
        (seconds(60, 61), &["6", "7"]),
        (seconds(80, 91), &["4", "8"]),
        (seconds(91, 1_000), &[]),
        (Some((Timestamp::MIN, Timestamp::MAX)), &["1", "2", "3", "4", "5", "6", "7", "8"]),
    ] {
        ask(&fresh.store, Filter { happened: range, ..Filter::default() }, wanted).await?;
    }
    Ok(())
}

async fn together(fresh: Fresh) -> Outcome {
    fill(&fresh).await?;
    let placed = || patterns(&["order.placed"]);
    for (filter, wanted) in [
        (
            Filter { names: placed(), category: Some(Text::from("order")), ..Filter::default() },
            &["1", "2", "8"][..],
        ),
        (Filter { names: placed(), ..tagged(&["shop:north"]) }, &["1", "5", "8"]),
        (Filter { key: Some(Text::from("2")), ..tagged(&["shop:north"]) }, &["5"]),
        (Filter { recorded: seconds(10, 50), ..tagged(&["shop:north"]) }, &["1", "3"]),
        (Filter { recorded: seconds(20, 80), happened: seconds(0, 20), ..Filter::default() }, &["2", "5"]),
        (
            Filter {
                names: placed(),
                category: Some(Text::from("order")),
                tags: vec![Text::from("shop:north"), Text::from("vip:true")],
                key: Some(Text::from("2-b")),
                recorded: seconds(80, 81),
                happened: seconds(80, 81),
            },
            &["8"],
        ),
        (Filter { names: patterns(&["user.*"]), ..tagged(&["shop:north"]) }, &[]),
    ] {
        ask(&fresh.store, filter, wanted).await?;
    }
    Ok(())
}
