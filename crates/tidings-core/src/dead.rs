//! Deliveries that were given up, and why: the record is the same wherever the handler ran.

mod desk;
mod letter;
mod port;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

pub use desk::Letters;
pub use letter::{DeadLetter, EDITS_MAX, Edit, GivenUp, Hidden, LetterFilter, Ran, scrubbed};
pub use port::{
    DeadLetters, Decided, Decision, LetterAndEvent, LetterFigures, LetterKeeper, LetterPage, REPLAY_CLAIM,
};

/// Why a delivery was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The handler said that trying again cannot help.
    Permanent,
    /// The last attempt failed too.
    Exhausted,
    /// It published at the end of a chain of more than 64 hops.
    Loop,
    /// It came after a dead letter of its key, when no more could wait.
    Follower,
    /// Its schema version is newer than this program knows.
    Newer,
    /// The store refused what the handler wanted written.
    Refused,
    /// There was no room for it.
    Overflow,
    /// It was refused because latency had passed its target.
    Shed,
    /// Its deadline passed.
    Deadline,
    /// The process died too often with it in its hands.
    Poison,
}

impl Reason {
    /// Every reason there is.
    pub const ALL: [Self; 10] = [
        Self::Permanent,
        Self::Exhausted,
        Self::Loop,
        Self::Follower,
        Self::Newer,
        Self::Refused,
        Self::Overflow,
        Self::Shed,
        Self::Deadline,
        Self::Poison,
    ];

    /// The word for it, as it is written in records and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Exhausted => "exhausted",
            Self::Loop => "loop",
            Self::Follower => "follower",
            Self::Newer => "newer",
            Self::Refused => "refused",
            Self::Overflow => "overflow",
            Self::Shed => "shed",
            Self::Deadline => "deadline",
            Self::Poison => "poison",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One failed call of a handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When the call ended.
    pub at: Timestamp,
    /// What it said, cut at [`ERROR_BYTES_MAX`].
    pub error: String,
}

/// How many attempts a record keeps; of more, the first and the newest are kept.
pub const ATTEMPTS_KEPT: usize = 10;

/// The most of an error's text that is kept, in bytes.
pub const ERROR_BYTES_MAX: usize = 4_096;

/// Appends an attempt to those that are kept: the first stays, and the newest.
pub fn keep_attempt(attempts: &mut Vec<Attempt>, mut attempt: Attempt) {
    if attempt.error.len() > ERROR_BYTES_MAX {
        attempt.error.truncate(attempt.error.floor_char_boundary(ERROR_BYTES_MAX));
    }
    if attempts.len() >= ATTEMPTS_KEPT {
        attempts.remove(1);
    }
    attempts.push(attempt);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_attempts_the_first_and_the_newest_are_kept() {
        let mut kept = Vec::new();
        for n in 0..40 {
            let error = if n == 39 { "é".repeat(ERROR_BYTES_MAX) } else { n.to_string() };
            keep_attempt(&mut kept, Attempt { at: Timestamp::from_millis(n), error });
        }
        assert_eq!(kept.len(), ATTEMPTS_KEPT);
        assert_eq!((kept[0].error.as_str(), kept[1].error.as_str()), ("0", "31"));
        assert!(kept[9].error.len() <= ERROR_BYTES_MAX);
    }

    #[test]
    fn a_reason_is_written_as_it_is_shown() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_string(&reason).expect("a word"), format!("\"{reason}\""));
        }
    }
}
