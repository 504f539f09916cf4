//! What is no store, or not a sound one: said in one sentence, and nothing made or changed.

mod kit;

use std::{
    fs::OpenOptions,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use kit::{Room, orders};

/// Commands that only read.
const READING: [&[&str]; 14] = [
    &["log"],
    &["tail"],
    &["stream", "a"],
    &["find", "a"],
    &["view"],
    &["view", "a"],
    &["stats"],
    &["subscription", "list"],
    &["dead", "list"],
    &["verify"],
    &["export"],
    &["backup", "copy.db"],
    &["lint"],
    &["info"],
];

#[test]
fn a_missing_store_is_said_and_not_made() {
    let room = Room::new();
    for words in READING {
        let ran = room.run(words);
        ran.fails(&["cannot open the store test.db", "there is no file", "--store URL", "TIDINGS_STORE"]);
    }
    for words in [&["subscription", "pause", "a"][..], &["dead", "replay", "a", "--all"]] {
        room.run(words).fails(&["there is no file", "--store URL"]);
    }
    assert_eq!(room.files(), Vec::<String>::new());
}

#[test]
fn the_store_is_named_by_argument_environment_or_default() {
    let room = Room::new();
    room.write("events", orders(2));
    room.ok(&["ingest", "events", "--store", "sqlite:one.db"]);
    room.ok(&["--store", "two.db", "ingest", "events"]);
    room.ok(&["ingest", "events"]);
    let mut unnamed = room.command(&["ingest", "events"]);
    assert!(unnamed.env_remove("TIDINGS_STORE").status().expect("the binary").success());
    for store in ["one.db", "two.db", "test.db", "tidings.db"] {
        assert!(room.files().iter().any(|name| name == store), "{store}");
    }
}

#[test]
fn what_is_no_store_is_said() {
    let room = Room::new();
    room.write("test.db", "this is a letter to my grandmother\n");
    std::fs::create_dir(room.path("folder")).expect("a folder");
    room.write("empty", "");
    for words in READING {
        room.run(words).fails(&["cannot open the store test.db", "no SQLite file"]);
    }
    room.run(&["log", "--store", "folder"]).fails(&["folder is not a file"]);
    room.run(&["log", "--store", "empty"]).fails(&["empty is empty"]);
    room.run(&["log", "--store", "postgres://host/x"]).fails(&["no engine for \"postgres\""]);
    room.run(&["log", "--store", "sqlite:"]).fails(&["a path is missing"]);
    room.write("events", orders(2));
    room.run(&["ingest", "events"]).fails(&["no SQLite file"]);
    assert_eq!(room.read("test.db"), "this is a letter to my grandmother\n", "it was not touched");
}

#[test]
fn a_store_of_a_newer_format_is_said() {
    let room = Room::new();
    room.ingest(&orders(2));
    // Where a SQLite file has its user version, which is our format.
    overwrite(&room.path("test.db"), 60, &7_u32.to_be_bytes());
    room.run(&["log"]).fails(&["the store has format 7", "formats up to 1", "use a newer one"]);
}

#[test]
fn a_damaged_store_is_said_and_the_record_named() {
    let room = Room::new();
    room.ingest(&orders(500));
    // A copy has no write-ahead log beside it, which would mend what is changed here.
    room.ok(&["backup", "copy.db"]);
    let path = room.path("copy.db");
    let content = std::fs::read(&path).expect("a file");
    let place = find(&content, br#"{"n":321,"#);
    overwrite(&path, place as u64 + 5, b"9");
    let ran = room.run(&["verify", "--store", "copy.db"]);
    assert_eq!(ran.status, 1);
    assert!(ran.out.contains("321  its checksum does not fit"), "{}", ran.out);
    assert!(ran.err.contains("in 500 events, the first at position 321"), "{}", ran.err);
    let ran = room.run(&["verify", "--store", "copy.db", "--json"]);
    let answer = &ran.json()[0];
    assert_eq!((ran.status, &answer["faults"][0]["position"]), (1, &serde_json::json!(321)));
}

#[test]
fn a_store_cut_short_is_said_by_every_command_and_none_panics() {
    let room = Room::new();
    room.ingest(&orders(2_000));
    room.ok(&["backup", "copy.db"]);
    let whole = std::fs::metadata(room.path("copy.db")).expect("a file").len();
    OpenOptions::new()
        .write(true)
        .open(room.path("copy.db"))
        .expect("a file")
        .set_len(whole / 2)
        .expect("shorter");
    for words in [&["log", "--json"][..], &["stats"], &["export"], &["verify"]] {
        let ran = room.run(&[words, &["--store", "copy.db"]].concat());
        assert_eq!(ran.status, 1, "{words:?}: {ran:?}");
        assert!(ran.err.contains("error: ") && !ran.err.contains("panicked"), "{words:?}: {}", ran.err);
    }
}

fn find(content: &[u8], wanted: &[u8]) -> usize {
    content.windows(wanted.len()).position(|window| window == wanted).expect("it is there")
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().read(true).write(true).open(path).expect("a file");
    file.seek(SeekFrom::Start(at)).expect("there");
    let mut before = vec![0; bytes.len()];
    file.read_exact(&mut before).expect("it is there");
    assert_ne!(before, bytes, "it has to change something");
    file.seek(SeekFrom::Start(at)).expect("there");
    file.write_all(bytes).expect("room");
}
