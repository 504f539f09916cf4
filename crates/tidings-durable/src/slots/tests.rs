//! Slots by themselves: what a read stands on, what is written, and what is forgotten.

use super::*;

fn key(id: &str) -> DocumentKey {
    DocumentKey::new("view", id)
}

fn stored(id: &str, version: u64, json: &'static str) -> Option<Document> {
    Some(Document { key: key(id), version, value: json.into() })
}

fn put(id: &str, json: &'static str) -> Write {
    Write { key: key(id), change: Change::Put(DocumentValue::Json(json.into())), indexed: &["city"] }
}

fn add(id: &str, by: i64) -> Write {
    let change = Change::Blind(vec![BlindChange::Add { field: "n".into(), by }]);
    Write { key: key(id), change, indexed: &[] }
}

fn loaded(most: usize, id: &str, version: u64) -> (Slots, u64) {
    let mut slots = Slots::new(most);
    slots.load(&key(id), stored(id, version, r#"{"n":1}"#));
    let stamp = slots.get(&key(id)).expect("there").1;
    (slots, stamp)
}

#[test]
fn a_read_becomes_a_condition_with_the_version_it_stands_on() {
    let (mut slots, stamp) = loaded(10, "d", 7);
    assert_eq!(slots.check(&[(key("d"), stamp)]), Seen::Fresh);
    assert_eq!(slots.stands_on(&key("d")), Some(7));
    slots.read(&key("d"));
    let (writes, reads) = slots.seal().expect("JSON");
    assert!(writes.is_empty());
    assert_eq!(reads, [DocumentRead { key: key("d"), version: 7 }]);
    let (writes, reads) = slots.seal().expect("JSON");
    assert!(writes.is_empty() && reads.is_empty(), "once");
}

#[test]
fn a_write_makes_earlier_reads_stale_and_later_ones_stand_on_it() {
    let (mut slots, stamp) = loaded(10, "d", 7);
    slots.read(&key("d"));
    slots.write(&put("d", "1")).expect("fits");
    assert_eq!(slots.check(&[(key("d"), stamp)]), Seen::Stale);
    assert_eq!(slots.stands_on(&key("d")), None);
    slots.read(&key("d"));
    slots.write(&put("d", "2")).expect("fits");
    let (writes, reads) = slots.seal().expect("JSON");
    assert!(reads.is_empty());
    assert_eq!((writes.len(), writes[0].expected), (1, Some(7)), "one write under the first read's version");
    assert_eq!(writes[0].change, DocumentChange::Put("2".into()));
    assert_eq!(&*writes[0].indexed, [Text::from("city")]);
}

#[test]
fn what_reads_the_commit_on_its_way_expects_just_its_version() {
    let (mut slots, _) = loaded(10, "d", 7);
    slots.write(&put("d", "1")).expect("fits");
    slots.seal().expect("JSON");
    slots.read(&key("d"));
    slots.write(&put("d", "2")).expect("fits");
    slots.committed(9);
    let (writes, _) = slots.seal().expect("JSON");
    assert_eq!(writes[0].expected, Some(9));
    slots.committed(10);
    slots.write(&Write { key: key("d"), change: Change::Delete, indexed: &[] }).expect("fits");
    slots.seal().expect("JSON");
    slots.committed(11);
    slots.read(&key("d"));
    assert_eq!(slots.seal().expect("JSON").1[0].version, 0, "it is gone");
}

#[test]
fn a_value_behind_a_blind_change_is_not_known_until_it_is_committed() {
    let (mut slots, stamp) = loaded(10, "d", 7);
    slots.write(&add("d", 2)).expect("fits");
    slots.write(&add("d", 3)).expect("fits");
    assert!(slots.is_blind(&key("d")) && slots.get(&key("d")).is_none());
    assert_eq!(slots.check(&[(key("d"), stamp)]), Seen::Stale);
    let (writes, _) = slots.seal().expect("JSON");
    let folded = DocumentChange::Blind(vec![BlindChange::Add { field: "n".into(), by: 5 }]);
    assert_eq!((writes[0].change.clone(), writes[0].expected), (folded, None));
    slots.committed(8);
    assert!(!slots.is_blind(&key("d")) && slots.get(&key("d")).is_none(), "to be read again");
}

#[test]
fn blind_changes_over_a_put_are_applied_at_once_and_refused_where_they_do_not_fit() {
    let (mut slots, _) = loaded(10, "d", 7);
    slots.write(&put("d", r#"{"n":1}"#)).expect("fits");
    slots.write(&add("d", 2)).expect("fits");
    let value = slots.get(&key("d")).expect("known").0.expect("there");
    assert_eq!(value.json().expect("JSON"), r#"{"n":3}"#);
    slots.write(&put("d", r#""text""#)).expect("fits");
    assert!(slots.check_writes(&[add("d", 1)]).is_err());
}

#[test]
fn more_documents_than_are_kept_are_forgotten_but_not_those_in_use() {
    let (mut slots, _) = loaded(2, "old", 1);
    for round in 0..4 {
        let id = format!("r{round}");
        slots.load(&key(&id), stored(&id, 1, "1"));
        slots.write(&put("used", "1")).expect("fits");
        slots.seal().expect("JSON");
        slots.committed(round + 2);
    }
    assert!(slots.get(&key("old")).is_none() && slots.get(&key("r0")).is_none());
    assert!(slots.get(&key("used")).is_some() && slots.slots.len() <= 4);
    let (mut slots, _) = loaded(100, "old", 1);
    for revision in 2..6 {
        slots.write(&put("used", "1")).expect("fits");
        slots.seal().expect("JSON");
        slots.committed(revision);
    }
    assert!(slots.get(&key("old")).is_some(), "there is room");
}
