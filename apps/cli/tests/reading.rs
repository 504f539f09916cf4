//! Commands that look into a store: what people see, what programs get.

mod kit;

use kit::{Room, orders};
use serde_json::{Value, json};

fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["id"].as_str().expect("an id")).collect()
}

#[test]
fn the_log_is_a_table_for_people_and_cloudevents_for_programs() {
    let room = Room::new();
    room.ingest(&orders(1_200));
    let table = room.ok(&["log", "--data"]).out;
    let lines: Vec<_> = table.lines().collect();
    for heading in ["position", "recorded", "event", "stream", "version", "id", "data"] {
        assert!(lines[0].contains(heading), "{heading} in {}", lines[0]);
    }
    // A heading, a line, 20 events and how to go on.
    assert_eq!(lines.len(), 23, "{table}");
    assert!(
        lines[2].contains("order.placed") && lines[2].contains(r#"{"n":1,"total":1.50}"#),
        "{}",
        lines[2]
    );
    assert_eq!(lines[22], "… there may be more: --after 20");

    let events = room.json(&["log"]);
    assert_eq!(events.len(), 1_200);
    let first = &events[0];
    assert_eq!(first["specversion"], "1.0");
    assert_eq!((&first["position"], &first["streamversion"]), (&json!("1"), &json!("1")));
    assert_eq!((&first["streamname"], &first["partitionkey"]), (&json!("order-1"), &json!("1")));
    assert_eq!(first["data"], json!({"n": 1, "total": 1.50}));
}

#[test]
fn the_log_can_be_asked_by_everything_there_is() {
    let room = Room::new();
    room.ingest(&orders(200));
    let all = room.json(&["log"]);
    let asked = |words: &[&str]| room.json(&[&["log"], words].concat());
    assert_eq!(ids(&asked(&["order.paid", "--limit", "2"])), ["e2", "e4"]);
    assert_eq!(ids(&asked(&["*.placed", "--backward", "-n", "2"])), ["e199", "e197"]);
    assert_eq!(ids(&asked(&["--after", "198"])), ["e199", "e200"]);
    assert_eq!(ids(&asked(&["--backward", "--after", "3"])), ["e2", "e1"]);
    assert_eq!(ids(&asked(&["--stream", "order-7"])), ["e13", "e14"]);
    assert_eq!(ids(&asked(&["--stream", "order-7", "--after", "1"])), ["e14"]);
    assert_eq!(ids(&asked(&["--key", "7", "order.paid"])), ["e14"]);
    assert_eq!(asked(&["--tag", "customer:3"]).len(), 20);
    assert_eq!(asked(&["--category", "order"]).len(), 200);
    assert_eq!(asked(&["--category", "orders"]).len(), 0);
    let at = ["--by", "event", "--since", "2024-05-01T10:01:00Z", "--until", "2024-05-01T12:01:02+02:00"];
    assert_eq!(ids(&asked(&at)), ["e60", "e61"]);
    let last = all[199]["recordedtime"].as_str().expect("a time");
    assert!(!asked(&["--since", last]).is_empty() && asked(&["--until", last]).len() < 200);
    assert_eq!(room.ok(&["log", "nothing.like.it"]).out, "no events\n");
}

#[test]
fn nothing_in_an_event_moves_the_cursor() {
    let room = Room::new();
    room.ingest(
        r#"{"specversion":"1.0","id":"\u001b[2J","source":"/s","type":"a.made","subject":"x\ny","data":"\u0007"}"#,
    );
    for words in
        [&["log", "--data"][..], &["tail", "--from", "beginning", "--limit", "1"], &["find", "\u{1b}[2J"]]
    {
        let out = room.ok(words).out;
        assert!(!out.contains('\u{1b}') && !out.contains('\u{7}'), "{out:?}");
        assert!(out.contains("\\u{1b}[2J"), "{out:?}");
    }
}

#[test]
fn a_stream_is_shown_by_version_and_one_that_is_not_there_is_said() {
    let room = Room::new();
    room.ingest(&orders(8));
    let events = room.json(&["stream", "order-2"]);
    assert_eq!(ids(&events), ["e3", "e4"]);
    assert_eq!(events[1]["streamversion"], "2");
    assert_eq!(ids(&room.json(&["stream", "order-2", "--backward", "--limit", "1"])), ["e4"]);
    assert!(room.ok(&["stream", "order-2"]).out.contains("order.paid"));
    room.run(&["stream", "order-99"]).fails(&["there is no stream \"order-99\"", "test.db"]);
}

#[test]
fn an_event_is_found_by_its_id_and_with_it_the_chain() {
    let room = Room::new();
    let line = |id: &str, source: &str, more: &str| {
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"{source}","type":"a.made"{more}}}"#) + "\n"
    };
    let lines = [
        line("root", "/s", ""),
        line("other", "/s", ""),
        line("child", "/s", r#","correlationid":"root","causationid":"root","hops":1"#),
        line("leaf", "/s", r#","correlationid":"root","causationid":"child","hops":2"#),
        line("child", "/elsewhere", ""),
    ];
    room.ingest(&lines.concat());
    assert_eq!(room.json(&["find", "child"]).len(), 2);
    assert_eq!(ids(&room.json(&["find", "child", "--source", "/s"])), ["child"]);
    assert_eq!(ids(&room.json(&["find", "child", "--source", "/s", "--chain"])), ["child", "root", "leaf"]);
    assert_eq!(room.one(&["find", "leaf"])["causationid"], "child");
    let shown = room.ok(&["find", "leaf", "--chain"]).out;
    assert!(shown.contains("correlation     root"), "{shown}");
    assert!(shown.contains("the chain it belongs to:"), "{shown}");
    room.run(&["find", "nobody"]).fails(&["there is no event with id \"nobody\""]);
    room.run(&["find", "leaf", "--source", "/x"]).fails(&["of source \"/x\""]);
}

#[test]
fn figures_are_numbers_for_programs_and_have_separators_for_people() {
    let room = Room::new();
    room.ingest(&orders(1_500));
    let stats = room.one(&["stats"]);
    assert_eq!(
        (&stats["events"], &stats["streams"], &stats["head"]),
        (&json!(1_500), &json!(750), &json!(1_500))
    );
    assert_eq!((&stats["dead_letters"], &stats["subscriptions"]), (&json!(0), &json!([])));
    assert_eq!(stats["names"], json!({"order.placed": 750, "order.paid": 750}));
    assert!(stats["bytes"].as_u64().expect("a number") > 10_000);
    let shown = room.ok(&["stats"]).out;
    assert!(shown.contains("events        1,500") && shown.contains("order.paid"), "{shown}");
}

#[test]
fn what_the_engine_promises_is_told() {
    let room = Room::new();
    room.ingest(&orders(2));
    let info = room.one(&["info"]);
    assert_eq!(
        (&info["engine"], &info["durable"], &info["head"]),
        (&json!("sqlite"), &json!(true), &json!(2))
    );
    assert!(info["settings"]["format"].is_string());
    assert!(room.ok(&["info"]).out.contains("an append that has returned survives a crash"));
}

#[test]
fn advice_is_given_on_names_and_fields_and_is_no_failure() {
    let room = Room::new();
    let line = |id: u32, name: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"{name}","data":{{"password":"x"}}}}"#
        ) + "\n"
    };
    room.ingest(&(line(1, "user.update") + &line(2, "user.registered")));
    let advice = room.json(&["lint"]);
    let about: Vec<_> = advice.iter().map(|one| (&one["event"], &one["field"])).collect();
    let (update, registered) = (&json!("user.update"), &json!("user.registered"));
    let (password, none) = (&json!("password"), &json!(null));
    assert_eq!(about, [(registered, password), (update, none), (update, password)]);
    let shown = room.ok(&["lint"]).out;
    assert!(shown.contains("3 remarks on 2 events"), "{shown}");
}

#[test]
fn a_backup_is_a_store_and_replaces_nothing() {
    let room = Room::new();
    room.ingest(&orders(100));
    let answer = room.one(&["backup", "copy.db"]);
    assert_eq!(answer["file"], "copy.db");
    assert_eq!(room.one(&["stats", "--store", "copy.db"])["events"], 100);
    room.run(&["backup", "copy.db"]).fails(&["cannot back up test.db to copy.db", "is there already"]);
    assert!(room.ok(&["backup", "second.db"]).out.starts_with("second.db: "));
    assert!(!room.files().iter().any(|name| name.contains("partial")));
}

#[test]
fn a_sound_store_is_verified() {
    let room = Room::new();
    room.ingest(&orders(100));
    assert_eq!(room.one(&["verify"]), json!({"events": 100, "faults": []}));
    assert_eq!(room.ok(&["verify"]).out, "100 events read, everything is sound\n");
}
