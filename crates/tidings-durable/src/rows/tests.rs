//! Rows by themselves: back to what is stored, and who has what in hand.

use super::*;

fn row(followers: u64) -> Row {
    Row { followers, ..Row::new(Some("k".into()), State::Parked { position: 1 }) }
}

#[test]
fn a_reset_goes_back_to_what_is_stored_over_what_is_open_and_what_is_on_its_way() {
    let id = row_id(Some(&"k".into()), 1);
    let other = row_id(None, 9);
    let mut rows = Rows::restore(HashMap::from([(id.clone(), row(3))]));
    rows.set(&id, Some(row(4)));
    assert_eq!(rows.seal(), [(id.clone(), Some(row(4)))]);
    rows.set(&id, None);
    rows.set(&other, Some(row(1)));
    assert_eq!(rows.followers(), 1);
    rows.reset();
    assert_eq!((rows.get(&id), rows.get(&other), rows.followers()), (Some(&row(3)), None, 3));
    assert!(rows.seal().is_empty());
}

#[test]
fn after_a_commit_a_reset_stops_there() {
    let id = row_id(Some(&"k".into()), 1);
    let mut rows = Rows::default();
    rows.set(&id, Some(row(1)));
    rows.seal();
    rows.committed();
    rows.set(&id, Some(row(2)));
    rows.reset();
    assert_eq!((rows.get(&id), rows.followers(), rows.len()), (Some(&row(1)), 1, 1));
}

#[test]
fn a_row_is_in_hand_until_every_delivery_of_it_is_let_go() {
    let id = row_id(Some(&"k".into()), 1);
    let mut rows = Rows::default();
    rows.take_in_hand(&id, 5);
    rows.take_in_hand(&id, 6);
    rows.let_go(&id, 5);
    assert!(rows.is_in_hand(&id) && rows.is_begun(&id, 6) && !rows.is_begun(&id, 5));
    rows.let_go(&id, 6);
    assert!(!rows.is_in_hand(&id));
    rows.take_in_hand(&id, LOOKED_FOR);
    assert!(rows.is_begun(&id, 7), "whichever is looked for");
}

#[test]
fn long_keys_have_short_ids_that_differ() {
    let (one, two) = ("x".repeat(900), "x".repeat(901));
    let (one, two) = (row_id(Some(&one.into()), 0), row_id(Some(&two.into()), 0));
    assert!(one.len() < 64 && one != two);
}
