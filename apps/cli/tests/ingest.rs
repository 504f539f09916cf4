//! `tidings ingest`: what is added, what is known, what is rejected, and what is left when it is cut short.

mod kit;

use std::io::Write as _;

use kit::{Room, child::Running, loans, order, orders};
use serde_json::{Value, json};

/// The counts of an answer.
fn counts(answer: &Value) -> [u64; 4] {
    ["read", "added", "known", "rejected"].map(|name| answer[name].as_u64().expect(name))
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn plain_gzip_and_zstd_give_the_same_from_a_file_and_from_standard_input() {
    let lines = orders(2_500).into_bytes();
    // Files are often put together from several compressed ones.
    let (half, rest) = lines.split_at(1_000);
    let twice = [gzip(half), gzip(rest)].concat();
    for content in [lines.clone(), gzip(&lines), twice, zstd::encode_all(&lines[..], 1).expect("memory")] {
        let room = Room::new();
        room.write("events", &content);
        assert_eq!(counts(&room.one(&["ingest", "events"])), [2_500, 2_500, 0, 0]);
        let again = room.run_with(&["ingest", "-", "--json"], &content);
        assert_eq!((again.status, counts(&again.json()[0])), (0, [2_500, 0, 2_500, 0]));
        assert_eq!(room.one(&["stats"])["events"], 2_500);
        assert!(!room.files().iter().any(|name| name.ends_with(".rejects")));
    }
}

#[test]
fn the_log_has_the_order_of_the_file_whatever_the_size_of_a_commit() {
    for batch in ["1", "7", "64", "65", "1000", "9000"] {
        let room = Room::new();
        let many = if batch == "1" { 300 } else { 3_000 };
        room.write("events", orders(many));
        room.ok(&["ingest", "events", "--batch", batch]);
        let ids: Vec<_> = room.json(&["log"]).iter().map(|event| event["id"].clone()).collect();
        let wanted: Vec<_> = (1..=many).map(|n| json!(format!("e{n}"))).collect();
        assert!(ids == wanted, "with {batch} events a commit");
        assert!(!room.one(&["stats"])["due"].as_object().expect("an object").contains_key("$ingest"));
    }
}

#[test]
fn a_second_run_adds_nothing_also_with_other_commits() {
    let room = Room::new();
    room.write("events", orders(3_000));
    assert_eq!(counts(&room.one(&["ingest", "events"])), [3_000, 3_000, 0, 0]);
    for batch in ["1000", "333", "5000"] {
        assert_eq!(counts(&room.one(&["ingest", "events", "--batch", batch])), [3_000, 0, 3_000, 0]);
    }
}

#[test]
fn events_known_here_and_there_are_left_out_and_the_others_keep_their_order() {
    let room = Room::new();
    let known: String = (1..=4_000).filter(|n| n % 700 < 3).map(|n| order(n) + "\n").collect();
    room.write("known", &known);
    let before = room.one(&["ingest", "known"])["added"].as_u64().expect("a number");
    // A line that comes again much later, as from a sender that repeats itself.
    let lines = format!("{}{}\n{}", orders(4_000), order(10), orders(2));
    room.write("events", lines);
    let answer = room.one(&["ingest", "events", "--batch", "100"]);
    assert_eq!(counts(&answer), [4_003, 4_000 - before, before + 3, 0]);
    let numbers: Vec<u64> = room
        .json(&["log"])
        .iter()
        .skip(before as usize)
        .map(|event| event["data"]["n"].as_u64().expect("n"))
        .collect();
    let turned = numbers.windows(2).find(|pair| pair[0] > pair[1]);
    assert_eq!(turned, None, "an earlier line came later");
}

#[test]
fn rejected_lines_are_written_down_with_number_reason_field_and_line() {
    let room = Room::new();
    let good = order(1);
    let large = format!(
        r#"{{"specversion":"1.0","id":"big","source":"/shop","type":"order.placed","data":"{}"}}"#,
        "x".repeat(1 << 20)
    );
    let long = format!("{{\"id\":\"{}\"}}", "y".repeat(5 << 20));
    let other = good.replace("1.50", "2.50");
    let mut text = Vec::new();
    let lines: [&[u8]; 11] = [
        good.as_bytes(),
        b"{\"specversion\":\"1.0\",\"id\":\"x\",\"source\":\"/s\"}",
        b"",
        b"not json",
        b"{\"specversion\":\"1.0\",\"id\":\"x\",\"source\":\"/s\",\"type\":\"a.b\",\"time\":\"yesterday\"}",
        b"  ",
        b"{\"id\":\"\xff\"}",
        large.as_bytes(),
        long.as_bytes(),
        other.as_bytes(),
        b"{\"specversion\":\"1.0\",\"id\":\"x\",\"source\":\"/s\",\"type\":\"a..b\"}",
    ];
    for line in lines {
        text.extend_from_slice(line);
        text.extend_from_slice(b"\r\n");
    }
    room.write("events", &text);
    let ran = room.run(&["ingest", "events", "--json"]);
    assert_eq!(ran.status, 1);
    let answer = &ran.json()[0];
    assert_eq!(counts(answer), [9, 1, 0, 8]);
    assert_eq!(answer["rejects"], "events.rejects");
    assert!(ran.err.contains("rejected: line 2: `type` is missing"), "{}", ran.err);
    let rejects: Vec<Value> =
        room.read("events.rejects").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let about: Vec<_> =
        rejects.iter().map(|reject| (reject["line"].clone(), reject["field"].clone())).collect();
    let wanted = [
        (json!(2), json!("type")),
        (json!(4), json!(null)),
        (json!(5), json!("time")),
        (json!(7), json!(null)),
        (json!(8), json!("data")),
        (json!(9), json!(null)),
        (json!(10), json!("id")),
        (json!(11), json!("type")),
    ];
    assert_eq!(about, wanted);
    assert_eq!(rejects[1]["text"], "not json");
    assert_eq!(rejects[4]["text"], large);
    assert_eq!(rejects[6]["text"].as_str().map(str::trim_end), Some(&*other));
    let reason = |at: usize| rejects[at]["reason"].as_str().expect("a reason").to_owned();
    assert!(reason(4).contains("1048578 bytes, more than 1048576"), "{}", reason(4));
    assert!(reason(5).contains("bytes, more than 4194304"), "{}", reason(5));
    assert!(rejects[5]["text"].as_str().expect("text").len() < 2_000, "only the beginning is kept");
    assert_eq!(rejects[5]["bytes"], long.len() + 1);
    assert!(reason(7).contains("column 3"), "{}", reason(7));
}

#[test]
fn an_id_with_other_content_than_in_the_store_is_rejected_and_the_rest_added() {
    let room = Room::new();
    room.ingest(&orders(10));
    let changed = order(4).replace("1.50", "9.99");
    room.write("more", format!("{}\n{changed}\n{}\n{}\n", order(3), order(11), order(12)));
    let ran = room.run(&["ingest", "more", "--json", "--rejects", "wrong.ndjson"]);
    assert_eq!((ran.status, counts(&ran.json()[0])), (1, [4, 2, 1, 1]));
    let reject: Value = serde_json::from_str(room.read("wrong.ndjson").trim()).expect("JSON");
    assert_eq!(
        (&reject["line"], &reject["field"], &reject["text"]),
        (&json!(2), &json!("id"), &json!(changed))
    );
}

#[test]
fn rejects_of_standard_input_have_a_name_too() {
    let room = Room::new();
    let ran = room.run_with(&["ingest", "-"], b"nonsense\n");
    assert_eq!(ran.status, 1);
    assert!(ran.out.contains("rejected lines are in ingest.rejects"), "{ran:?}");
    assert!(room.read("ingest.rejects").contains("nonsense"));
}

#[test]
fn streams_can_be_made_by_subject() {
    let room = Room::new();
    let line = |id: u32, more: &str| {
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"loan.submitted"{more}}}"#)
    };
    let own = line(2, r#","subject":"8","partitionkey":"k","streamname":"own""#);
    room.write("events", format!("{}\n{own}\n{}\n", line(1, r#","subject":"7""#), line(3, "")));
    room.ok(&["ingest", "events"]);
    let places = |room: &Room| -> Vec<_> {
        let events = room.json(&["log"]);
        events.iter().map(|event| (event["streamname"].clone(), event["partitionkey"].clone())).collect()
    };
    assert_eq!(
        places(&room),
        [(json!("loan"), json!(null)), (json!("own"), json!("k")), (json!("loan"), json!(null))]
    );
    let other = Room::new();
    std::fs::copy(room.path("events"), other.path("events")).expect("a copy");
    other.ok(&["ingest", "events", "--stream-by", "subject"]);
    assert_eq!(
        places(&other),
        [(json!("loan-7"), json!("7")), (json!("loan-8"), json!("8")), (json!("loan"), json!(null))]
    );
}

#[test]
fn events_of_tenants_go_to_their_tenants() {
    let room = Room::new();
    let line = |id: u32, tenant: &str| {
        let tenant = if tenant.is_empty() { String::new() } else { format!(r#","tenantid":"{tenant}""#) };
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"a.made"{tenant}}}"#) + "\n"
    };
    let lines: String = (1..=60)
        .map(|n| line(n, ["", "red", "blue"][(n / 5 % 3) as usize]))
        .chain([line(1, "red")])
        .collect();
    room.write("events", &lines);
    assert_eq!(counts(&room.one(&["ingest", "events"])), [61, 61, 0, 0]);
    assert_eq!(room.json(&["log"]).len(), 61);
    assert_eq!(room.json(&["log", "--tenant", "red"]).len(), 21);
    assert_eq!(counts(&room.one(&["ingest", "events"])), [61, 0, 61, 0]);
}

#[test]
fn one_that_was_killed_is_finished_by_running_it_again() {
    let room = Room::new();
    let lines = orders(20_000);
    room.write("events", &lines);
    let mut running = Running::start(&mut room.command(&["ingest", "-", "-v"]));
    let cut = lines.match_indices('\n').nth(12_344).expect("enough lines").0;
    let mut stdin = running.stdin.take().expect("a pipe");
    stdin.write_all(&lines.as_bytes()[..cut]).expect("it reads");
    running.says("written");
    running.kill();
    let before = room.one(&["stats"])["events"].as_u64().expect("a number");
    assert!(before > 0, "something was written before");
    let answer = room.one(&["ingest", "events"]);
    assert_eq!(counts(&answer), [20_000, 20_000 - before, before, 0]);
    let ids: Vec<_> = room.json(&["log"]).iter().map(|event| event["id"].clone()).collect();
    assert!(ids == (1..=20_000).map(|n| json!(format!("e{n}"))).collect::<Vec<_>>());
    assert!(room.run(&["verify"]).out.contains("sound"));
}

#[test]
fn an_interrupted_one_finishes_what_is_under_way_and_tells() {
    let room = Room::new();
    let mut running = Running::start(&mut room.command(&["ingest", "-", "-v", "--json"]));
    let stdin = running.stdin.as_mut().expect("a pipe");
    stdin.write_all(orders(50).as_bytes()).expect("it reads");
    stdin.flush().expect("it reads");
    running.says("written");
    // Standard input stays open: it does not wait for it.
    running.signal("INT");
    let line: Value = serde_json::from_str(&running.line()).expect("JSON");
    assert_eq!(line["stopped"], true);
    let (status, _) = running.end();
    assert_eq!(status, 1);
    assert_eq!(room.one(&["stats"])["events"], line["added"]);
}

#[test]
fn what_is_compressed_and_cut_off_is_told_and_its_beginning_is_added() {
    let room = Room::new();
    let whole = gzip(orders(5_000).as_bytes());
    room.write("events.gz", &whole[..whole.len() / 2]);
    let ran = room.run(&["ingest", "events.gz"]);
    ran.fails(&["cannot read events.gz to its end"]);
    assert!(ran.out.contains(" added"), "{ran:?}");
    let added = room.one(&["stats"])["events"].as_u64().expect("a number");
    assert!(added > 0 && added < 5_000);
}

#[test]
fn what_cannot_be_read_or_written_is_said_and_no_store_is_made_of_it() {
    let room = Room::new();
    room.run(&["ingest", "nothing-here"]).fails(&["cannot read nothing-here"]);
    room.run(&["ingest", "."]).fails(&["it is a folder"]);
    assert_eq!(room.files(), Vec::<String>::new());
    room.write("events", orders(2));
    room.run(&["ingest", "events", "--store", "no/such/folder/a.db"]).fails(&["cannot open the store"]);
    // Nobody can make a file there, whoever runs this.
    room.run(&["ingest", "events", "--store", "/proc/a.db"]).fails(&["cannot open the store /proc/a.db"]);
    room.run(&["ingest", "events", "--store", "mysql:x"]).fails(&["no engine for \"mysql\""]);
}

#[test]
fn an_empty_file_is_no_mistake() {
    let room = Room::new();
    room.write("events", "\n\r\n");
    assert_eq!(counts(&room.one(&["ingest", "events"])), [0; 4]);
    assert_eq!(room.one(&["stats"])["events"], 0);
}

#[test]
fn the_real_log_is_ingested_whole() {
    let Some(file) = loans("the_real_log_is_ingested_whole") else { return };
    let room = Room::new();
    let file = file.to_str().expect("UTF-8");
    let answer = room.one(&["ingest", file, "--stream-by", "subject"]);
    assert_eq!(counts(&answer), [262_200, 262_200, 0, 0]);
    let stats = room.one(&["stats"]);
    assert_eq!((&stats["events"], &stats["streams"]), (&json!(262_200), &json!(13_087)));
    for (activity, many) in [
        ("a_submitted", 13_087),
        ("a_partlysubmitted", 13_087),
        ("a_preaccepted", 7_367),
        ("a_accepted", 5_113),
        ("a_finalized", 5_015),
        ("a_approved", 2_246),
        ("a_registered", 2_246),
        ("a_activated", 2_246),
        ("a_declined", 7_635),
        ("a_cancelled", 2_807),
        ("o_selected", 7_030),
        ("o_created", 7_030),
        ("o_sent", 7_030),
        ("o_sent_back", 3_454),
        ("o_cancelled", 3_655),
        ("o_accepted", 2_243),
        ("o_declined", 802),
    ] {
        assert_eq!(stats["names"][format!("loan.{activity}.complete")], many, "{activity}");
    }
    assert_eq!(counts(&room.one(&["ingest", file, "--stream-by", "subject"])), [262_200, 0, 262_200, 0]);
}
