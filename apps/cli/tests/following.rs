//! `tidings tail`, and readers that go away.

mod kit;

use std::io::{BufRead as _, BufReader};

use kit::{Room, child::Running, order, orders};
use serde_json::Value;

fn id(line: &str) -> String {
    let event: Value = serde_json::from_str(line).expect(line);
    event["id"].as_str().expect("an id").to_owned()
}

#[test]
fn it_follows_what_another_process_writes() {
    let room = Room::new();
    room.ingest(&orders(3));
    let tail = Running::start(&mut room.command(&["tail", "order.*", "-n", "2", "--json"]));
    assert_eq!([id(&tail.line()), id(&tail.line())], ["e2", "e3"]);
    // What was printed shows that it is following now.
    room.ingest(&orders(6));
    assert_eq!([id(&tail.line()), id(&tail.line()), id(&tail.line())], ["e4", "e5", "e6"]);
    room.ingest(&orders(7));
    assert_eq!(id(&tail.line()), "e7");
    tail.signal("INT");
    assert_eq!(tail.end(), (0, Vec::new()));
}

#[test]
fn it_begins_where_it_is_told_and_ends_after_so_many() {
    let room = Room::new();
    room.ingest(&orders(30));
    let told = |words: &[&str]| -> Vec<String> {
        let lines = room.ok(&[&["tail", "--json"], words].concat()).out;
        lines.lines().map(id).collect()
    };
    assert_eq!(told(&["--from", "beginning", "--limit", "2"]), ["e1", "e2"]);
    assert_eq!(told(&["--from", "27", "--limit", "3"]), ["e28", "e29", "e30"]);
    assert_eq!(told(&["order.paid", "--from", "20", "--limit", "1"]), ["e22"]);
    assert_eq!(told(&["-n", "2", "--limit", "2"]), ["e29", "e30"]);
    assert_eq!(told(&["order.placed", "-n", "5", "--limit", "1"]), ["e21"]);
}

#[test]
fn for_people_it_prints_one_line_an_event() {
    let room = Room::new();
    room.ingest(&orders(2));
    let out = room.ok(&["tail", "--from", "beginning", "--limit", "2", "--data"]).out;
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("1  ") && lines[0].ends_with(r#"{"n":1,"total":1.50}"#), "{out}");
    assert!(lines[0].contains("  order.placed  order-1  1  e1  "), "{out}");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let room = Room::new();
    // More than a pipe holds, so that it is still printing when the reader goes.
    room.ingest(&(1..=5_000).map(|n| order(n) + "\n").collect::<String>());
    for words in [&["log", "--json"][..], &["export"], &["log", "--limit", "5000"], &["completions", "bash"]]
    {
        let mut child = room.command(words).spawn().expect("the binary");
        let mut out = BufReader::with_capacity(16, child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        drop(out);
        let ended = child.wait_with_output().expect("it ends");
        assert!(ended.status.success(), "{words:?}: {:?}", ended.status);
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{words:?}");
    }
}
