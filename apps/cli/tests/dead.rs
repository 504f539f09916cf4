//! Dead letters, subscriptions and views, of an application that does not run now.

mod kit;

use kit::{Room, app};
use serde_json::{Value, json};

/// An application has booked two orders and given up on two, at positions 2 and 4.
fn room() -> Room {
    let room = Room::new();
    app::run(&room.path("test.db"), &[10, 13, 11, 14]);
    room
}

fn positions(room: &Room, words: &[&str]) -> Vec<u64> {
    let letters = room.json(&[&["dead", "list"], words].concat());
    letters.iter().map(|letter| letter["position"].as_u64().expect("a position")).collect()
}

#[test]
fn dead_letters_are_listed_and_filtered() {
    let room = room();
    assert_eq!(positions(&room, &[]), [2, 4]);
    assert_eq!(positions(&room, &["book", "--reason", "permanent"]), [2, 4]);
    assert_eq!(positions(&room, &["book", "--reason", "loop"]), [0; 0]);
    assert_eq!(positions(&room, &["--key", "o3", "--name", "order.placed"]), [4]);
    assert_eq!(positions(&room, &["--limit", "1"]), [2]);
    assert_eq!(positions(&room, &["--after", "2"]), [4]);
    let shown = room.ok(&["dead", "list"]).out;
    assert!(shown.contains("no such account") && shown.contains("permanent"), "{shown}");
    assert!(room.ok(&["dead", "list", "--key", "x"]).out.contains("no dead letters"));
    room.run(&["dead", "list", "nobody"])
        .fails(&["there is no subscription \"nobody\"", "subscriptions: book"]);
}

#[test]
fn a_dead_letter_is_shown_with_its_event_and_without_what_is_redacted() {
    let room = room();
    let shown = room.one(&["dead", "show", "book", "2"]);
    assert_eq!(shown["letter"]["error"], "no such account");
    assert_eq!(shown["event"]["data"], json!({"order": "o1", "card": "[redacted]", "cents": 13}));
    let text = room.ok(&["dead", "show", "book", "2"]).out;
    assert!(text.contains("no such account") && text.contains("parked key"), "{text}");
    room.run(&["dead", "show", "book", "3"]).fails(&["book has no dead letter at position 3"]);
}

#[test]
fn redacted_fields_are_shown_by_no_command_but_an_export() {
    let room = room();
    let id = room.json(&["log"])[0]["id"].as_str().expect("an id").to_owned();
    for words in [
        &["log", "--data"][..],
        &["log", "--json"],
        &["stream", "order-o1", "--json"],
        &["tail", "--from", "beginning", "--limit", "4", "--data"],
        &["tail", "--from", "beginning", "--limit", "4", "--json"],
        &["find", &id],
        &["find", &id, "--json", "--chain"],
        &["dead", "list", "--json"],
        &["dead", "show", "book", "2"],
        &["dead", "show", "book", "2", "--json"],
    ] {
        let out = room.ok(words).out;
        assert!(!out.contains("4711-0815"), "{words:?}: {out}");
    }
    assert!(room.ok(&["log", "--data"]).out.contains("[redacted]"));
    assert!(room.ok(&["export"]).out.contains("4711-0815"), "an export is lossless");
}

#[test]
fn a_replayed_letter_goes_to_the_handler_when_it_runs_again() {
    let room = room();
    let answer = room.one(&["dead", "replay", "book", "2"]);
    assert_eq!(
        (&answer["carried"], &answer["done"], &answer["refused"]),
        (&json!("here"), &json!(1), &json!([]))
    );
    // It fails again, and is there once; so are the other one and a new order.
    app::run(&room.path("test.db"), &[15]);
    assert_eq!(positions(&room, &[]), [2, 4, 5]);
    let letter = &room.json(&["dead", "list", "--key", "o1"])[0];
    assert_eq!(letter["attempts"], 2, "it was tried again");
    let shown = room.ok(&["dead", "replay", "book", "--all"]).out;
    assert!(shown.contains("3 dead letters handed back"), "{shown}");
}

#[test]
fn a_discarded_letter_is_gone_and_its_key_goes_on() {
    let room = room();
    let ran = room.run(&["dead", "discard", "book", "2", "9", "--json"]);
    assert_eq!(ran.status, 1, "one of them is not there");
    assert_eq!(
        (&ran.json()[0]["done"], ran.json()[0]["refused"].as_array().map(Vec::len)),
        (&json!(1), Some(1))
    );
    assert_eq!(positions(&room, &[]), [4]);
    assert!(
        room.ok(&["dead", "discard", "book", "--key", "o3", "--yes"]).out.contains("1 dead letter discarded")
    );
    assert_eq!(room.one(&["stats"])["dead_letters"], 0);
    assert!(room.ok(&["dead", "discard", "book", "--all", "--yes"]).out.contains("nothing was done"));
    let subscription = &room.json(&["subscription", "list"])[0];
    assert_eq!((&subscription["parked"], &subscription["dead_letters"]), (&json!(0), &json!(0)));
}

#[test]
fn subscriptions_are_listed_paused_resumed_and_reset() {
    let room = room();
    let one = || room.one(&["subscription", "list"]);
    let before = one();
    assert_eq!(
        (&before["name"], &before["watermark"], &before["lag"]),
        (&json!("book"), &json!(4), &json!(0))
    );
    assert_eq!(
        (&before["parked"], &before["dead_letters"], &before["paused"]),
        (&json!(2), &json!(2), &json!(false))
    );
    assert_eq!(before["run_by"], Value::Null);
    assert_eq!(room.one(&["stats"])["subscriptions"][0]["name"], "book");
    assert!(room.ok(&["subscription", "pause", "book"]).out.contains("book is paused"));
    assert_eq!(one()["paused"], true);
    assert!(room.ok(&["subscription", "list"]).out.contains("paused"));
    room.ok(&["subscription", "resume", "book"]);
    assert_eq!(one()["paused"], false);
    let answer = room.one(&["subscription", "reset", "book", "--to", "1"]);
    assert_eq!((&answer["verb"], &answer["done"]), (&json!("reset"), &json!(1)));
    let after = one();
    assert_eq!(
        (&after["watermark"], &after["lag"], &after["dead_letters"]),
        (&json!(1), &json!(3), &json!(0))
    );
    assert!(after["lag_seconds"].as_f64().expect("a number") > 0.0);
    app::run(&room.path("test.db"), &[]);
    assert_eq!(positions(&room, &[]), [2, 4], "they have come again from the log");
    room.run(&["subscription", "pause", "nobody"]).fails(&["there is no subscription \"nobody\""]);
}

#[test]
fn views_are_listed_and_their_documents_shown() {
    let room = room();
    assert_eq!(room.one(&["view"]), json!({"view": "booked", "documents": 2, "indexed": ["cents"]}));
    let documents = room.json(&["view", "booked"]);
    assert_eq!(
        (&documents[0]["id"], &documents[0]["value"]),
        (&json!("o0"), &json!({"order": "o0", "cents": 10}))
    );
    assert!(documents[0]["version"].is_u64());
    let asked = |words: &[&str]| -> Vec<String> {
        let documents = room.json(&[&["view", "booked"], words].concat());
        documents.iter().map(|document| document["id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(asked(&["--id", "o2"]), ["o2"]);
    assert_eq!(asked(&["--prefix", "o"]), ["o0", "o2"]);
    assert_eq!(asked(&["--after", "o0"]), ["o2"]);
    assert_eq!(asked(&["--limit", "1"]), ["o0"]);
    assert_eq!(asked(&["--where", "cents=11"]), ["o2"]);
    assert!(room.ok(&["view"]).out.contains("booked"));
    assert!(room.ok(&["view", "booked", "-n", "1"]).out.contains("… there may be more: --after \"o0\""));
    room.run(&["view", "booked", "--where", "order=o0"]).fails(&["keeps no index on \"order\"", "cents"]);
    room.run(&["view", "booked", "--id", "x"]).fails(&["view booked has no document \"x\""]);
    room.run(&["view", "bookings"]).fails(&["there is no view \"bookings\"", "views: booked"]);
    room.run(&["view", "$subscriptions"]).fails(&["is no view"]);
}
