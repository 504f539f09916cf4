//! Aggregations: what the items of a window come to.
//!
//! Here is what every aggregation can do; `numbers` counts, sums and averages, `extremes` are the least and the
//! greatest, `lists` collects and counts what differs, `own` is made of closures, `of` looks at
//! what a function makes of the items.

mod extremes;
mod lists;
mod numbers;
mod of;
mod own;

pub use self::{
    extremes::{Extreme, max, min},
    lists::{Collect, Collected, Different, Distinct, DistinctState, collect, distinct},
    numbers::{Average, Avg, AvgState, Count, FloatSum, Number, Sum, avg, count, sum},
    of::{Of, of},
    own::{Own, own},
};

/// Makes one value of many items, one at a time.
///
/// Several at once are a tuple of aggregations, whose outcome is a tuple. With [`merge`](Self::merge) two parts can be
/// added up: sliding windows share their parts, and sessions grow together.
///
/// ```
/// use tidings_flow::{Aggregation, aggregate::{avg, count, max}};
///
/// let all = (count(), avg(|cents: &u32| *cents), max(|cents: &u32| *cents));
/// let mut state = Aggregation::<u32>::start(&all);
/// for cents in [10, 20, 40] {
///     all.add(&mut state, &cents);
/// }
/// let (count, average, most) = Aggregation::<u32>::finish(&all, &state);
/// assert_eq!((count, average.sum, most), (3, 70, Some(40)));
/// ```
pub trait Aggregation<T> {
    /// What is kept of the items so far.
    type State: Clone;
    /// What they come to.
    type Out;

    /// Nothing so far.
    fn start(&self) -> Self::State;

    /// One item more.
    fn add(&self, state: &mut Self::State, item: &T);

    /// Adds what was kept of other items, which came later or are of a later time.
    fn merge(&self, into: &mut Self::State, later: &Self::State);

    /// What the items so far come to; there may be more afterwards.
    fn finish(&self, state: &Self::State) -> Self::Out;

    /// Whether it can merge.
    fn merges(&self) -> bool {
        true
    }

    /// What is wrong with its settings.
    fn faults(&self) -> Vec<String> {
        Vec::new()
    }
}

macro_rules! tuples {
    ($($name:ident $at:tt),*) => {
        impl<T, $($name: Aggregation<T>),*> Aggregation<T> for ($($name,)*) {
            type State = ($($name::State,)*);
            type Out = ($($name::Out,)*);

            fn start(&self) -> Self::State {
                ($(self.$at.start(),)*)
            }

            fn add(&self, state: &mut Self::State, item: &T) {
                $(self.$at.add(&mut state.$at, item);)*
            }

            fn merge(&self, into: &mut Self::State, later: &Self::State) {
                $(self.$at.merge(&mut into.$at, &later.$at);)*
            }

            fn finish(&self, state: &Self::State) -> Self::Out {
                ($(self.$at.finish(&state.$at),)*)
            }

            fn merges(&self) -> bool {
                $(self.$at.merges())&&*
            }

            fn faults(&self) -> Vec<String> {
                [$(self.$at.faults()),*].concat()
            }
        }
    };
}

tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
