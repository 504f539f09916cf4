//! What operators have in common, and how they are chained.

use std::marker::PhantomData;

use tidings_core::Timestamp;

/// A state machine between a source and a handler: items go in, and what comes out is given to `emit`.
///
/// It does no I/O and reads no clock: it is told the time, and says when it wants to be told again. The time it is told
/// must not go backwards. Everything it does it does within the call, so that whoever runs it decides where and when.
///
/// ```
/// use tidings_core::Timestamp;
/// use tidings_flow::{Batch, Batching, Operator, filter};
///
/// let mut batches = filter(|cents: &u64| *cents > 10).then(Batch::new(Batching::new().items(2))?);
/// let (now, mut seen) = (Timestamp::from_millis(0), Vec::new());
/// for cents in [5, 20, 30, 40] {
///     batches.push(cents, now, &mut |batch| seen.push(batch.items));
/// }
/// assert_eq!(seen, [[20, 30]]);
/// assert_eq!(batches.due(), Some(Timestamp::from_millis(1_000)));
/// batches.fire(Timestamp::from_millis(1_000), &mut |batch| assert_eq!(batch.items, [40]));
/// # Ok::<(), tidings_flow::Error>(())
/// ```
pub trait Operator {
    /// What goes in.
    type Item;
    /// What comes out.
    type Out;

    /// Takes an item. What was due by `now` comes out first, as if [`fire`](Self::fire) had been called.
    fn push(&mut self, item: Self::Item, now: Timestamp, emit: &mut dyn FnMut(Self::Out));

    /// When [`fire`](Self::fire) has something to do next; `None` when nothing waits for a time.
    fn due(&self) -> Option<Timestamp>;

    /// Gives out what is due by `now`.
    fn fire(&mut self, now: Timestamp, emit: &mut dyn FnMut(Self::Out));

    /// Gives out everything it holds, oldest first. It can be used afterwards.
    fn flush(&mut self, now: Timestamp, emit: &mut dyn FnMut(Self::Out));

    /// This operator, and after it `next`.
    fn then<Next: Operator<Item = Self::Out>>(self, next: Next) -> Then<Self, Next>
    where
        Self: Sized,
    {
        Then { first: self, next }
    }
}

/// One operator after another; made by [`Operator::then`].
#[derive(Debug, Clone)]
pub struct Then<First, Next> {
    /// What items go into.
    pub first: First,
    /// What takes what comes out of the first.
    pub next: Next,
}

impl<First: Operator, Next: Operator<Item = First::Out>> Operator for Then<First, Next> {
    type Item = First::Item;
    type Out = Next::Out;

    fn push(&mut self, item: Self::Item, now: Timestamp, emit: &mut dyn FnMut(Self::Out)) {
        let next = &mut self.next;
        next.fire(now, emit);
        self.first.push(item, now, &mut |item| next.push(item, now, emit));
    }

    fn due(&self) -> Option<Timestamp> {
        [self.first.due(), self.next.due()].into_iter().flatten().min()
    }

    fn fire(&mut self, now: Timestamp, emit: &mut dyn FnMut(Self::Out)) {
        let next = &mut self.next;
        next.fire(now, emit);
        self.first.fire(now, &mut |item| next.push(item, now, emit));
    }

    fn flush(&mut self, now: Timestamp, emit: &mut dyn FnMut(Self::Out)) {
        let next = &mut self.next;
        self.first.flush(now, &mut |item| next.push(item, now, emit));
        next.flush(now, emit);
    }
}

/// Lets items through of which a predicate holds; made by [`filter`].
pub struct Filter<T, F> {
    predicate: F,
    item: PhantomData<fn(T)>,
}

/// Lets items through of which `predicate` holds.
pub fn filter<T, F: FnMut(&T) -> bool>(predicate: F) -> Filter<T, F> {
    Filter { predicate, item: PhantomData }
}

impl<T, F: FnMut(&T) -> bool> Operator for Filter<T, F> {
    type Item = T;
    type Out = T;

    fn push(&mut self, item: T, _: Timestamp, emit: &mut dyn FnMut(T)) {
        if (self.predicate)(&item) {
            emit(item);
        }
    }

    fn due(&self) -> Option<Timestamp> {
        None
    }

    fn fire(&mut self, _: Timestamp, _: &mut dyn FnMut(T)) {}

    fn flush(&mut self, _: Timestamp, _: &mut dyn FnMut(T)) {}
}

/// Makes something else of each item; made by [`map`].
pub struct Map<T, F> {
    function: F,
    item: PhantomData<fn(T)>,
}

/// Makes something else of each item.
pub fn map<T, U, F: FnMut(T) -> U>(function: F) -> Map<T, F> {
    Map { function, item: PhantomData }
}

impl<T, U, F: FnMut(T) -> U> Operator for Map<T, F> {
    type Item = T;
    type Out = U;

    fn push(&mut self, item: T, _: Timestamp, emit: &mut dyn FnMut(U)) {
        emit((self.function)(item));
    }

    fn due(&self) -> Option<Timestamp> {
        None
    }

    fn fire(&mut self, _: Timestamp, _: &mut dyn FnMut(U)) {}

    fn flush(&mut self, _: Timestamp, _: &mut dyn FnMut(U)) {}
}
