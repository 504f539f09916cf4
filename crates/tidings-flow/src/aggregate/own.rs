//! An aggregation of one's own, made of closures.

use std::marker::PhantomData;

use super::Aggregation;

type Merge<S> = Box<dyn Fn(&mut S, &S) + Send + Sync>;

/// An aggregation made of closures; by [`own`].
pub struct Own<S, Start, Add, Finish, R> {
    start: Start,
    add: Add,
    finish: Finish,
    merge: Option<Merge<S>>,
    out: PhantomData<fn() -> R>,
}

/// An aggregation of one's own: what there is at the start, how an item is added, and what it comes to in the end.
/// Sliding windows and sessions also need to know how to [merge](Own::merging).
///
/// ```
/// use tidings_flow::{Aggregation, aggregate::own};
/// let product = own(|| 1_u64, |so_far, item: &u64| *so_far *= item, |product| *product)
///     .merging(|product, other| *product *= other);
/// let mut state = product.start();
/// product.add(&mut state, &6);
/// product.add(&mut state, &7);
/// assert_eq!(product.finish(&state), 42);
/// ```
pub fn own<T, S, R, Start, Add, Finish>(
    start: Start,
    add: Add,
    finish: Finish,
) -> Own<S, Start, Add, Finish, R>
where
    Start: Fn() -> S,
    Add: Fn(&mut S, &T),
    Finish: Fn(&S) -> R,
{
    Own { start, add, finish, merge: None, out: PhantomData }
}

impl<S, Start, Add, Finish, R> Own<S, Start, Add, Finish, R> {
    /// How what was kept of other items, later ones, is added.
    #[must_use]
    pub fn merging(self, merge: impl Fn(&mut S, &S) + Send + Sync + 'static) -> Self {
        Self { merge: Some(Box::new(merge)), ..self }
    }
}

impl<T, S, R, Start, Add, Finish> Aggregation<T> for Own<S, Start, Add, Finish, R>
where
    S: Clone,
    Start: Fn() -> S,
    Add: Fn(&mut S, &T),
    Finish: Fn(&S) -> R,
{
    type State = S;
    type Out = R;

    fn start(&self) -> S {
        (self.start)()
    }

    fn add(&self, state: &mut S, item: &T) {
        (self.add)(state, item);
    }

    fn merge(&self, into: &mut S, later: &S) {
        if let Some(merge) = &self.merge {
            merge(into, later);
        }
    }

    fn finish(&self, state: &S) -> R {
        (self.finish)(state)
    }

    fn merges(&self) -> bool {
        self.merge.is_some()
    }
}
