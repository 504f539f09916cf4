//! The book by itself, where a rule is easier to show than through a whole node.

use tidings_core::{Change, DocumentKey, DocumentValue, Effects, Envelope, Write};
use tidings_store::{Error, Recorded};

use super::*;

fn book() -> Book {
    let mut book = Book::new("s".into(), Config::default(), 1, &Checkpoint::default(), HashMap::new());
    for position in 1..=9 {
        book.window.read(position);
    }
    book
}

fn delivery(position: Position, key: &str) -> Delivery {
    let envelope = Envelope::build("order.placed").key(key).finish().expect("valid");
    let (stream, recorded) = (Text::from("order"), Timestamp::default());
    Delivery {
        event: Recorded { position, version: 1, recorded, stream, envelope },
        key: Some(key.into()),
        attempt: 1,
        calls: 1,
        first: None,
        from_row: false,
        conflicts: 0,
        trouble: None,
        history: Vec::new(),
        letter: None,
        ready: Timestamp::default(),
        uncalled: false,
        claim: None,
    }
}

/// It has read and written the document `id`.
fn handled(book: &mut Book, position: Position, key: &str, id: &str) -> Accepted {
    let id = DocumentKey::new("view", id);
    book.slots.load(&id, None);
    let stamp = book.slots.get(&id).expect("loaded").1;
    let change = Change::Put(DocumentValue::Json("1".into()));
    let effects = Effects {
        events: Vec::new(),
        reads: vec![(id.clone(), stamp)],
        writes: vec![Write { key: id, change, indexed: &[] }],
    };
    Accepted { delivery: delivery(position, key), outcome: Outcome::Handled(effects) }
}

fn conflict(id: &str) -> Error {
    Error::DocumentChanged { key: DocumentKey::new("view", id), expected: 0, actual: 1 }
}

fn positions(again: &[Delivery]) -> Vec<Position> {
    again.iter().map(Delivery::position).collect()
}

#[test]
fn a_conflict_cuts_out_the_reader_whoever_stands_on_it_and_followers_of_their_keys() {
    let mut book = book();
    for (position, key, id) in [(1, "a", "x"), (2, "b", "y"), (3, "c", "x"), (4, "a", "z"), (5, "d", "z")] {
        let accepted = handled(&mut book, position, key, id);
        assert!(matches!(book.accept(accepted), Verdict::Accepted));
    }
    book.seal();
    let again = book.refused(&conflict("x"));
    assert_eq!(positions(&again), [1, 3, 4, 5], "5 stands on 4, which follows 1");
    let sealed = book.seal();
    assert_eq!(sealed.commit.checkpoints[0].settled, [2]);
    assert_eq!((sealed.commit.documents.len(), book.counts.handled, book.counts.reruns), (1, 1, 4));
}

#[test]
fn a_later_delivery_of_a_key_goes_behind_one_that_has_to_run_again() {
    let mut book = book();
    let first = handled(&mut book, 1, "a", "x");
    assert!(matches!(book.accept(first), Verdict::Accepted));
    book.seal();
    assert_eq!(positions(&book.refused(&conflict("x"))), [1]);
    let second = handled(&mut book, 2, "a", "y");
    assert!(matches!(book.accept(second), Verdict::Behind(_)));
    let first = handled(&mut book, 1, "a", "x");
    assert!(matches!(book.accept(first), Verdict::Accepted));
    let second = handled(&mut book, 2, "a", "y");
    assert!(matches!(book.accept(second), Verdict::Accepted));
}

#[test]
fn one_that_is_alone_keeps_others_out_until_it_is_committed_and_no_longer() {
    let mut book = book();
    let first = handled(&mut book, 1, "a", "x");
    assert!(matches!(book.accept(first), Verdict::Accepted));
    book.begin_alone(2);
    let alone = handled(&mut book, 2, "b", "y");
    assert!(matches!(book.accept(alone), Verdict::Later(_)), "not beside what is open");
    book.seal();
    book.committed(1, 1);
    assert_eq!(book.alone, Some(2), "a commit without it changes nothing");
    let other = handled(&mut book, 3, "c", "z");
    assert!(matches!(book.accept(other), Verdict::Later(_)));
    let alone = handled(&mut book, 2, "b", "y");
    assert!(matches!(book.accept(alone), Verdict::Accepted));
    book.seal();
    book.committed(2, 2);
    assert_eq!(book.alone, None);
    let other = handled(&mut book, 3, "c", "z");
    assert!(matches!(book.accept(other), Verdict::Accepted));
}

#[test]
fn taken_apart_a_batch_is_committed_in_order_and_takes_nobody_in_until_it_is_through() {
    let mut book = book();
    for position in 1..=3 {
        let accepted = handled(&mut book, position, &position.to_string(), &position.to_string());
        assert!(matches!(book.accept(accepted), Verdict::Accepted));
    }
    book.seal();
    assert!(book.refused(&Error::Refused("somebody".into())).is_empty());
    let other = handled(&mut book, 4, "k", "k");
    assert!(matches!(book.accept(other), Verdict::Later(_)));
    assert_eq!((book.seal().commit.checkpoints[0].watermark, book.accepted()), (1, 3));
    book.committed(1, 1);
    book.seal();
    assert!(book.refused(&Error::Refused("this one".into())).is_empty());
    assert_eq!(book.seal().commit.checkpoints[0].watermark, 2, "its dead letter");
    book.committed(2, 2);
    assert_eq!(book.seal().commit.checkpoints[0].watermark, 3);
    book.committed(3, 3);
    assert_eq!((book.counts.handled, book.counts.dead, book.rows.len(), book.accepted()), (2, 1, 1, 0));
    let other = handled(&mut book, 4, "k", "k");
    assert!(matches!(book.accept(other), Verdict::Accepted));
}

#[test]
fn a_delivery_whose_row_waits_for_another_is_gone() {
    let mut book = book();
    let late = Accepted { delivery: delivery(1, "a"), outcome: Outcome::Later { due: Timestamp::MAX } };
    assert!(matches!(book.accept(late), Verdict::Accepted));
    let follower = handled(&mut book, 2, "a", "x");
    assert!(matches!(book.accept(follower), Verdict::Accepted));
    assert_eq!(book.rows.followers(), 1, "whatever its handler did, it follows");
    let mut again = handled(&mut book, 2, "a", "x");
    again.delivery.from_row = true;
    book.rows.take_in_hand(&again.delivery.row_id(), 2);
    assert_eq!(book.turn(&again.delivery), Turn::Gone);
    let id = again.delivery.row_id();
    assert!(matches!(book.accept(again), Verdict::Gone));
    assert!(!book.rows.is_in_hand(&id));
    let mut first = handled(&mut book, 1, "a", "x");
    first.delivery.from_row = true;
    assert!(matches!(book.accept(first), Verdict::Accepted));
    let mut twice = handled(&mut book, 1, "a", "x");
    twice.delivery.from_row = true;
    assert!(matches!(book.accept(twice), Verdict::Gone), "never twice");
}

#[test]
fn whoever_asked_hears_whether_what_is_open_was_committed_or_taken_back() {
    let mut book = book();
    let mut kept = book.when_kept();
    book.forget(1);
    book.seal();
    let mut later = book.when_kept();
    book.committed(0, 1);
    assert_eq!((kept.try_recv(), later.try_recv().is_err()), (Ok(true), true));
    book.forget(2);
    book.seal();
    book.refused(&conflict("x"));
    assert_eq!(later.try_recv(), Ok(false));
    assert_eq!(book.letter_on_its_way(2), None);
}

#[test]
fn a_letter_on_its_way_is_known_until_its_commit_is_through() {
    let mut book = book();
    let dead = Outcome::Dead { reason: Reason::Permanent, path: Vec::new() };
    assert!(matches!(book.accept(Accepted { delivery: delivery(1, "a"), outcome: dead }), Verdict::Accepted));
    assert_eq!(book.letter_on_its_way(1).map(|letter| letter.is_some()), Some(true));
    book.seal();
    assert_eq!(book.letter_on_its_way(1).map(|letter| letter.is_some()), Some(true));
    book.committed(1, 1);
    assert_eq!(book.letter_on_its_way(1), None, "now it is in the store");
}
