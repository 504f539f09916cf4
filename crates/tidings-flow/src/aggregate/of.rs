//! Any aggregation, of what a function makes of the items.

use std::{fmt, marker::PhantomData};

use crate::Aggregation;

/// An aggregation of what a function makes of the items; made by [`of`].
pub struct Of<U, F, A> {
    value: F,
    aggregation: A,
    made: PhantomData<fn() -> U>,
}

/// What `aggregation` makes of the values: to collect something smaller than the events, or something that can be
/// written down where windows are kept in documents.
///
/// ```
/// use tidings_flow::{Aggregation, aggregate::{collect, of}};
/// let lengths = of(|word: &&str| word.len(), collect(10));
/// let mut state = lengths.start();
/// ["a", "bcd"].iter().for_each(|word| lengths.add(&mut state, word));
/// assert_eq!(lengths.finish(&state).items, [1, 3]);
/// ```
pub fn of<T, U, F: Fn(&T) -> U, A: Aggregation<U>>(value: F, aggregation: A) -> Of<U, F, A> {
    Of { value, aggregation, made: PhantomData }
}

impl<T, U, F: Fn(&T) -> U, A: Aggregation<U>> Aggregation<T> for Of<U, F, A> {
    type State = A::State;
    type Out = A::Out;

    fn start(&self) -> A::State {
        self.aggregation.start()
    }

    fn add(&self, state: &mut A::State, item: &T) {
        self.aggregation.add(state, &(self.value)(item));
    }

    fn merge(&self, into: &mut A::State, later: &A::State) {
        self.aggregation.merge(into, later);
    }

    fn finish(&self, state: &A::State) -> A::Out {
        self.aggregation.finish(state)
    }

    fn merges(&self) -> bool {
        self.aggregation.merges()
    }

    fn faults(&self) -> Vec<String> {
        self.aggregation.faults()
    }
}

impl<U, F, A: fmt::Debug> fmt::Debug for Of<U, F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Of").field("aggregation", &self.aggregation).finish_non_exhaustive()
    }
}
