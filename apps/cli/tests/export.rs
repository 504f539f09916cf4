//! `tidings export`, and the way back.

mod kit;

use kit::{Room, orders};
use serde_json::{Value, json};

/// An event without the time at which a store recorded it.
fn timeless(mut event: Value) -> Value {
    event.as_object_mut().expect("an object").remove("recordedtime").expect("it is recorded");
    event
}

/// Events with everything that has to survive.
fn rich() -> String {
    let lines = [
        json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "a.made", "time": "2011-10-01T00:38:44.546+02:00",
            "datacontenttype": "text/plain", "data": "plain text", "streamname": "own-stream", "partitionkey": "k",
            "tags": "[\"a:1\",\"b:2\"]", "schemaversion": 3, "free": "attribute", "number": 7, "truth": true}),
        json!({"specversion": "1.0", "id": "2", "source": "/s", "type": "a.made", "data_base64": "AAEC/w==",
            "correlationid": "1", "causationid": "1", "hops": 2, "userid": "u", "priority": "low"}),
        json!({"specversion": "1.0", "id": "2", "source": "/other", "type": "a.made", "tenantid": "red"}),
        json!({"specversion": "1.0", "id": "3", "source": "/s", "type": "b.made", "subject": "é\u{1}", "data": [1, null, {"z": 1, "a": 2}],
            "expirytime": "2999-01-01T00:00:00Z", "traceparent": "00-1-2-3", "dataschema": "/schema"}),
    ];
    lines.iter().map(|line| format!("{line}\n")).collect::<String>() + &orders(1_000)
}

#[test]
fn an_export_ingested_elsewhere_gives_the_same_events_in_the_same_places() {
    let room = Room::new();
    room.ingest(&rich());
    let before: Vec<_> = room.json(&["log"]).into_iter().map(timeless).collect();
    assert_eq!(before.len(), 1_004);
    for file in ["all.ndjson", "all.ndjson.gz", "all.ndjson.zst"] {
        let answer = room.one(&["export", file]);
        assert_eq!((&answer["events"], &answer["failed"]), (&json!(1_004), &json!(0)));
        let store = format!("{file}.db");
        let answer = room.one(&["ingest", file, "--store", &store]);
        assert_eq!((&answer["added"], &answer["rejected"]), (&json!(1_004), &json!(0)));
        let after: Vec<_> = room.json(&["log", "--store", &store]).into_iter().map(timeless).collect();
        assert!(before == after, "{file}");
    }
    // Into the store it comes from, it adds nothing.
    assert_eq!(room.one(&["ingest", "all.ndjson"])["added"], 0);
    assert_eq!(room.ok(&["export"]).out, room.read("all.ndjson"));
}

#[test]
fn a_part_of_the_log_is_exported_on_request() {
    let room = Room::new();
    room.ingest(&orders(100));
    assert_eq!(room.ok(&["export", "--pattern", "order.paid"]).out.lines().count(), 50);
    assert_eq!(room.ok(&["export", "-", "--after", "90"]).out.lines().count(), 10);
    assert_eq!(room.ok(&["export", "--tag", "customer:3"]).out.lines().count(), 10);
}

#[test]
fn a_file_that_is_there_is_replaced_only_by_force() {
    let room = Room::new();
    room.ingest(&orders(4));
    room.write("out", "precious");
    room.run(&["export", "out"]).fails(&["out is there already", "--force"]);
    assert_eq!(room.read("out"), "precious");
    assert!(room.ok(&["export", "out", "--force"]).out.starts_with("out: 4 events in "));
    assert_eq!(room.read("out").lines().count(), 4);
    room.run(&["export", "no/folder/out"]).fails(&["cannot write no/folder/out"]);
    assert!(!room.files().iter().any(|name| name.ends_with(".partial")));
}
