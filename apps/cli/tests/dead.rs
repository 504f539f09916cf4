//! Dead letters, subscriptions and views, of an application that does not run now.

mod kit;

use kit::{Room, app};
use serde_json::{Value, json};
use tidings::Subscribe as _;

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
        .fails(&["there is no subscription or handler \"nobody\"", "there are: book"]);
}

#[test]
fn a_dead_letter_is_shown_with_its_event_and_without_what_is_redacted() {
    let room = room();
    let shown = room.one(&["dead", "show", "book", "2"]);
    assert_eq!(shown["letter"]["error"], "no such account");
    assert_eq!(shown["event"]["data"], json!({"order": "o1", "card": "[redacted]", "cents": 13}));
    let text = room.ok(&["dead", "show", "book", "2"]).out;
    assert!(text.contains("no such account") && text.contains("parked key"), "{text}");
    room.run(&["dead", "show", "book", "3"]).fails(&["book has no dead letter 3"]);
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
        (&answer["waiting"], &answer["done"], &answer["refused"]),
        (&json!(false), &json!(1), &json!([]))
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
fn stats_count_dead_letters_of_every_place() {
    let room = room();
    let path = room.path("test.db");
    app::in_memory(&path, &[13, 14, 15], 13, |book| book.pool("books").named("pool"));
    app::in_memory(&path, &[13], 13, |book| book.named("bus"));
    let stats = room.one(&["stats"]);
    // The durable one does not run now, and has given up on those it had.
    let by_handler = json!({"book": 2, "bookkeeping/pool": 3, "bookkeeping/bus": 1});
    assert_eq!((&stats["dead_letters"], &stats["dead_letters_by_handler"]), (&json!(6), &by_handler));
    let text = room.ok(&["stats"]).out;
    let line =
        |of: &str| text.lines().find(|line| line.starts_with(of)).unwrap_or_else(|| panic!("{of}: {text}"));
    assert!(line("dead letters").ends_with(" 6"), "{text}");
    assert!(line("bookkeeping/pool").trim_end().ends_with(" 3"), "{text}");
    assert!(line("bookkeeping/bus").trim_end().ends_with(" 1"), "{text}");
    room.ok(&["dead", "discard", "bookkeeping/bus", "--all", "--yes"]);
    assert_eq!(room.one(&["stats"])["dead_letters"], 5);
    assert!(!room.ok(&["stats"]).out.contains("bookkeeping/bus"));
}

#[test]
fn letters_are_filtered_by_destination_and_time_and_counted() {
    let room = room();
    assert_eq!(positions(&room, &["--destination", "book"]), [2, 4]);
    assert_eq!(positions(&room, &["--destination", "elsewhere"]), [0; 0]);
    assert_eq!(
        positions(&room, &["--since", "2020-01-01T00:00:00Z", "--until", "2999-01-01T00:00:00Z"]),
        [2, 4]
    );
    assert_eq!(positions(&room, &["--since", "2999-01-01T00:00:00Z"]), [0; 0]);
    assert_eq!(positions(&room, &["--until", "2020-01-01T00:00:00Z"]), [0; 0]);
    assert_eq!(room.one(&["dead", "count"]), json!({"handler": "book", "dead_letters": 2}));
    assert_eq!(room.one(&["dead", "count", "book", "--key", "o1"])["dead_letters"], 1);
    assert!(room.ok(&["dead", "count"]).out.contains("2 dead letters in all"));
}

#[test]
fn an_edited_letter_is_replayed_as_it_was_edited() {
    let room = room();
    room.run(&["dead", "edit", "book", "2", "--data", "{", "--by", "ann"]).fails(&["the payload is no JSON"]);
    room.run(&["dead", "edit", "book", "3", "--data", "{}", "--by", "ann"]).fails(&["no dead letter"]);
    let data = r#"{"order":"o1","card":"4711-0815","cents":12}"#;
    let answer = room.one(&["dead", "edit", "book", "2", "--data", data, "--by", "ann"]);
    assert_eq!((&answer["verb"], &answer["done"]), (&json!("edit"), &json!(1)));
    let shown = room.one(&["dead", "show", "book", "2"]);
    assert_eq!(shown["event"]["data"], json!({"order": "o1", "card": "[redacted]", "cents": 12}));
    assert_eq!(
        (&shown["letter"]["edits"][0]["by"], &shown["letter"]["edits"][0]["before"]),
        (&json!("ann"), &json!("[redacted]"))
    );
    room.ok(&["dead", "replay", "book", "2", "--rate", "5"]);
    app::run(&room.path("test.db"), &[]);
    assert_eq!(positions(&room, &[]), [4], "the other one was not replayed");
    assert_eq!(room.json(&["view", "booked", "--id", "o1"])[0]["value"]["cents"], 12);
}

#[test]
fn letters_are_exported_as_events_with_their_records_and_old_ones_purged() {
    let room = room();
    let lines = room.ok(&["dead", "export", "book", "--key", "o3"]).out;
    let event: Value = serde_json::from_str(&lines).expect("one CloudEvent");
    let record: Value = serde_json::from_str(event["deadletter"].as_str().expect("a record")).expect("JSON");
    assert_eq!((&event["data"]["cents"], &record["position"]), (&json!(14), &json!(4)));
    assert!(room.ok(&["dead", "purge", "--older-than", "24h", "--yes"]).out.contains("nothing was done"));
    let answer = room.one(&["dead", "purge", "book", "--older-than", "0s", "--yes"]);
    assert_eq!((&answer["verb"], &answer["done"]), (&json!("purge"), &json!(2)));
    assert_eq!(positions(&room, &[]), [0; 0]);
}

#[test]
fn letters_of_a_buffered_handler_are_found_and_replayed_when_it_runs_again() {
    let room = Room::new();
    app::buffered(&room.path("test.db"), &[10, 13], 13);
    let letter = &room.json(&["dead", "list"])[0];
    let (handler, entry) =
        (letter["handler"].as_str().expect("a name"), letter["entry"].as_str().expect("an id"));
    assert_eq!(
        (&letter["place"], &letter["position"], &letter["key"]),
        (&json!("buffered"), &json!(0), &json!("o1"))
    );
    assert!(!letter.to_string().contains("4711"), "{letter}");
    assert!(room.ok(&["dead", "show", handler, entry]).out.contains("no such account"));
    assert_eq!(room.one(&["dead", "replay", handler, entry])["done"], 1);
    app::buffered(&room.path("test.db"), &[], 13);
    let again = &room.json(&["dead", "list"])[0];
    assert_eq!(
        (&again["entry"], &again["attempts"], &again["replays"]),
        (&letter["entry"], &json!(2), &json!(1))
    );
    room.ok(&["dead", "replay", handler, "--all"]);
    app::buffered(&room.path("test.db"), &[], 99);
    assert_eq!(room.json(&["dead", "list"]).len(), 0);
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
