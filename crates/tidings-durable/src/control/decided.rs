//! What a decision about dead letters does to the book of a subscription.

use super::*;

/// The verb for as many letters at a time as one commit decides about, and their positions in order.
pub(super) fn chunks(verb: &Verb, now: Timestamp) -> Vec<(Verb, Vec<Position>)> {
    let (positions, pace) = match verb {
        Verb::Replay { positions, pace } => (positions.clone(), *pace),
        Verb::Discard { positions } => (positions.clone(), None),
        Verb::Edit { position, .. } => (vec![*position], None),
        Verb::Pause | Verb::Resume | Verb::Reset { .. } => (Vec::new(), None),
    };
    let mut sorted = positions;
    sorted.sort_unstable();
    sorted.dedup();
    let part = |(at, part): (usize, &[Position])| {
        let verb = match verb {
            Verb::Replay { .. } => {
                let pace = pace.unwrap_or(Pace { from: now, every_micros: 0 });
                Verb::Replay { positions: Vec::new(), pace: Some(pace.nth(at * LETTERS)) }
            }
            other => other.clone(),
        };
        (verb, part.to_vec())
    };
    sorted.chunks(LETTERS).enumerate().map(part).collect()
}

impl Pace {
    /// The same for what comes after the first `n`.
    fn nth(self, n: usize) -> Self {
        let span = Duration::from_micros(self.every_micros.saturating_mul(n as u64));
        Self { from: self.from.after(span), ..self }
    }
}

pub(super) fn no_letter(position: Position) -> String {
    format!("there is no dead letter at position {position}")
}

/// Replays, discards or edits `letters`, which come in order of position.
pub(super) fn on_letters(
    book: &mut Book,
    verb: &Verb,
    letters: Vec<Result<DeadLetter, String>>,
    now: Timestamp,
) -> Answer {
    let mut answer = Answer::default();
    book.now = now;
    for (at, letter) in letters.into_iter().enumerate() {
        let done = letter.and_then(|letter| match verb {
            _ if book.letter_on_its_way(letter.position) == Some(None) => Err(no_letter(letter.position)),
            Verb::Discard { .. } => discard(book, &letter),
            Verb::Edit { .. } => edit(book, letter),
            Verb::Replay { pace: Some(pace), .. } => replay(book, letter, pace.nth(at).from),
            _ => replay(book, letter, now),
        });
        match done {
            Ok(()) => answer.done += 1,
            Err(why) => answer.refused.push(why),
        }
    }
    answer
}

/// The row of the letter's key, if it has one and order was kept when it was given up.
fn row_of(book: &Book, letter: &DeadLetter) -> Option<(Text, Row)> {
    let key = letter.key.as_ref()?;
    let id = row_id(Some(key), letter.position);
    let row = book.rows.get(&id)?;
    let concerns = match row.state {
        State::Parked { position } => position == letter.position || letter.reason == Reason::Follower,
        State::Pending { position, .. } => position == letter.position || letter.reason == Reason::Follower,
        State::Draining { .. } => letter.reason == Reason::Follower,
    };
    concerns.then(|| (id, row.clone()))
}

fn replay(book: &mut Book, letter: DeadLetter, due: Timestamp) -> Result<(), String> {
    let position = letter.position;
    let (id, row) = match row_of(book, &letter) {
        Some((id, row)) => match row.state {
            State::Parked { position: head } if head == position => {
                (id, Row { state: again(&letter, due), ..row })
            }
            // A rule would replay it later: a person is not made to wait.
            State::Pending { position: head, due: later, .. } if head == position && later > due => {
                if book.rows.is_in_hand(&id) {
                    return Ok(());
                }
                (id, Row { state: again(&letter, due), ..row })
            }
            // It follows by itself when what is before it is through.
            State::Pending { .. } | State::Draining { .. } => return Ok(()),
            State::Parked { position: head } => {
                return Err(format!(
                    "the dead letter at {position} waits behind the one at {head} of the same key; decide that one first"
                ));
            }
        },
        None => {
            let id = row_id(None, position);
            match book.rows.get(&id).map(|row| &row.state) {
                Some(State::Pending { due: later, .. }) if *later > due && !book.rows.is_in_hand(&id) => {}
                Some(_) => return Ok(()),
                None => {}
            }
            (id, Row::new(None, again(&letter, due)))
        }
    };
    book.operate(&id, Some(row), []);
    book.put_letter(DeadLetter { due: Some(due), ..letter });
    Ok(())
}

/// Puts an edited letter in the place of what it was, unless that is being handled.
fn edit(book: &mut Book, letter: DeadLetter) -> Result<(), String> {
    let position = letter.position;
    let id = row_of(book, &letter).map_or_else(|| row_id(None, position), |(id, _)| id);
    if book.rows.is_in_hand(&id) && book.rows.is_begun(&id, position) {
        return Err(format!("the dead letter at {position} is being replayed"));
    }
    book.put_letter(letter);
    Ok(())
}

/// Whether a row waits for a decision about the letter at `position`, or for a replay that has not begun.
fn is_still(book: &Book, id: &Text, row: &Row, position: Position) -> bool {
    match row.state {
        State::Parked { position: head } => head == position,
        State::Pending { position: head, attempt: 1, due, letter: true, .. } => {
            head == position && due > book.now && !book.rows.is_in_hand(id)
        }
        State::Pending { .. } | State::Draining { .. } => false,
    }
}

fn discard(book: &mut Book, letter: &DeadLetter) -> Result<(), String> {
    let position = letter.position;
    match row_of(book, letter) {
        Some((id, row)) if is_still(book, &id, &row, position) => {
            let rest = row.end > position;
            book.operate(
                &id,
                rest.then_some(Row { state: State::Draining { after: position }, ..row }),
                [position],
            );
        }
        Some((id, row)) if letter.reason == Reason::Follower && !book.rows.is_begun(&id, position) => {
            let overflow = row.overflow.saturating_sub(1);
            book.operate(&id, Some(Row { overflow, ..row }), [position]);
        }
        Some(_) => return Err(format!("the dead letter at {position} is being replayed")),
        None => {
            let id = row_id(None, position);
            match book.rows.get(&id).cloned() {
                Some(row) if is_still(book, &id, &row, position) => book.operate(&id, None, [position]),
                Some(_) => return Err(format!("the dead letter at {position} is being replayed")),
                None => book.forget(position),
            }
        }
    }
    Ok(())
}
