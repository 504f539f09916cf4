//! `tidings flags`: set, listed, forgotten, and who did it.

mod kit;

use kit::{Room, orders};
use serde_json::json;

#[test]
fn a_flag_is_set_listed_forgotten_and_kept_in_mind() {
    let room = Room::new();
    room.ingest(&orders(1));
    assert_eq!(room.ok(&["flags", "list"]).out, "no flags are set: everything is on\n");
    assert_eq!(room.ok(&["flags", "history"]).out, "no flag was ever changed\n");
    let set = |words: &[&str]| room.ok(&[&["flags"], words, &["--by", "ann"]].concat()).out;
    assert_eq!(set(&["set", "beta", "off"]), "beta was not set and is off\n");
    assert_eq!(set(&["set", "beta", "25%"]), "beta was off and is 25 %\n");
    assert_eq!(set(&["set", "topic:order.**", "on"]), "topic:order.** was not set and is on\n");
    let listed = room.json(&["flags", "list"]);
    let of = |n: usize, field: &str| listed[n][field].clone();
    assert_eq!(
        (of(0, "flag"), of(0, "is"), of(0, "by")),
        (json!("beta"), json!({"percent": 25.0}), json!("ann"))
    );
    assert_eq!((of(1, "flag"), of(1, "is")), (json!("topic:order.**"), json!("on")));
    assert_eq!(set(&["unset", "beta"]), "beta was 25 % and is not set\n");
    assert_eq!(room.json(&["flags", "list"]).len(), 1);
    let history = room.json(&["flags", "history"]);
    let changes: Vec<_> = history.iter().map(|one| (one["before"].clone(), one["after"].clone())).collect();
    assert_eq!(changes.len(), 4);
    assert_eq!(changes[1], (json!("off"), json!({"percent": 25.0})));
    assert_eq!(changes[3], (json!({"percent": 25.0}), json!(null)));
    let table = room.ok(&["flags", "history"]).out;
    assert!(table.contains("ann") && table.contains("topic:order.**"), "{table}");
}

#[test]
fn what_is_no_setting_or_no_pattern_is_refused() {
    let room = Room::new();
    room.ingest(&orders(1));
    for words in [&["set", "beta", "maybe"][..], &["set", "beta", "101%"], &["set", "topic:a..b", "off"]] {
        let ran = room.run(&[&["flags"], words].concat());
        assert_ne!(ran.status, 0, "{words:?}");
    }
    assert_eq!(room.json(&["flags", "list"]).len(), 0);
}
