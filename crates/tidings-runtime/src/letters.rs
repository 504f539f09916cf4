//! Dead letters in memory, for applications without a store.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tidings_core::{BoxFuture, DeadLetters, GivenUp, Handled};

/// Keeps the newest dead letters, up to a bound; those that had to go are counted.
#[derive(Debug)]
pub struct MemoryDeadLetters {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    letters: VecDeque<GivenUp>,
    total: u64,
}

impl MemoryDeadLetters {
    /// Room for so many.
    pub fn new(most: usize) -> Self {
        Self { most, state: Mutex::default() }
    }

    /// How many there have ever been.
    pub fn total(&self) -> u64 {
        self.state.lock().total
    }

    /// Those that are kept, the oldest first.
    pub fn all(&self) -> Vec<GivenUp> {
        self.state.lock().letters.iter().cloned().collect()
    }
}

impl DeadLetters for MemoryDeadLetters {
    fn keep(&self, given_up: GivenUp) -> BoxFuture<'_, Handled> {
        let mut state = self.state.lock();
        if state.letters.len() >= self.most {
            state.letters.pop_front();
        }
        state.letters.push_back(given_up);
        state.total += 1;
        Box::pin(std::future::ready(Ok(())))
    }
}
