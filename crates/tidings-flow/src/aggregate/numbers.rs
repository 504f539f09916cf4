//! How many, how much, and how much on average.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::Aggregation;

/// Counts items; made by [`count`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Count;

/// How many items.
pub fn count() -> Count {
    Count
}

impl<T> Aggregation<T> for Count {
    type State = u64;
    type Out = u64;

    fn start(&self) -> u64 {
        0
    }

    fn add(&self, state: &mut u64, _: &T) {
        *state += 1;
    }

    fn merge(&self, into: &mut u64, later: &u64) {
        *into += later;
    }

    fn finish(&self, state: &u64) -> u64 {
        *state
    }
}

/// A number that can be summed. Whole numbers sum up exactly, in an `i128`; fractions with what rounding lost kept
/// beside the sum, so that the result hardly depends on their order. A sum with NaN in it is NaN.
pub trait Number {
    /// What is kept.
    type State: Clone + Default + Send + Serialize + for<'de> Deserialize<'de>;
    /// The sum.
    type Total;

    /// Adds it.
    fn add_to(self, state: &mut Self::State);

    /// Adds another sum.
    fn merge(into: &mut Self::State, later: &Self::State);

    /// The sum.
    fn total(state: &Self::State) -> Self::Total;
}

macro_rules! whole {
    ($($number:ty)*) => {$(
        impl Number for $number {
            type State = i128;
            type Total = i128;

            fn add_to(self, state: &mut i128) {
                // More than 2^63 of the largest items would be needed to saturate it.
                *state = state.saturating_add(self as i128);
            }

            fn merge(into: &mut i128, later: &i128) {
                *into = into.saturating_add(*later);
            }

            fn total(state: &i128) -> i128 {
                *state
            }
        }
    )*};
}

whole!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize);

/// A sum of fractions. Written bit by bit, for JSON knows neither NaN nor infinity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct FloatSum {
    #[serde(with = "bits")]
    sum: f64,
    /// What rounding took away from the sum.
    #[serde(with = "bits")]
    rest: f64,
}

mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(number.to_bits())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        u64::deserialize(from).map(f64::from_bits)
    }
}

impl FloatSum {
    fn add(&mut self, number: f64) {
        let sum = self.sum + number;
        if sum.is_finite() {
            let (large, small) =
                if self.sum.abs() >= number.abs() { (self.sum, number) } else { (number, self.sum) };
            self.rest += (large - sum) + small;
        }
        self.sum = sum;
    }

    fn total(self) -> f64 {
        if self.sum.is_finite() { self.sum + self.rest } else { self.sum }
    }
}

impl Number for f64 {
    type State = FloatSum;
    type Total = f64;

    fn add_to(self, state: &mut FloatSum) {
        state.add(self);
    }

    fn merge(into: &mut FloatSum, later: &FloatSum) {
        into.add(later.sum);
        into.rest += later.rest;
    }

    fn total(state: &FloatSum) -> f64 {
        state.total()
    }
}

impl Number for f32 {
    type State = FloatSum;
    type Total = f64;

    fn add_to(self, state: &mut FloatSum) {
        state.add(f64::from(self));
    }

    fn merge(into: &mut FloatSum, later: &FloatSum) {
        <f64 as Number>::merge(into, later);
    }

    fn total(state: &FloatSum) -> f64 {
        state.total()
    }
}

/// Sums numbers; made by [`sum`].
#[derive(Debug, Clone, Copy)]
pub struct Sum<F, N> {
    number: F,
    kind: PhantomData<fn(N)>,
}

/// The sum of a [`Number`] of each item.
pub fn sum<T, N: Number, F: Fn(&T) -> N>(number: F) -> Sum<F, N> {
    Sum { number, kind: PhantomData }
}

impl<T, N: Number, F: Fn(&T) -> N> Aggregation<T> for Sum<F, N> {
    type State = N::State;
    type Out = N::Total;

    fn start(&self) -> N::State {
        N::State::default()
    }

    fn add(&self, state: &mut N::State, item: &T) {
        (self.number)(item).add_to(state);
    }

    fn merge(&self, into: &mut N::State, later: &N::State) {
        N::merge(into, later);
    }

    fn finish(&self, state: &N::State) -> N::Total {
        N::total(state)
    }
}

/// Averages numbers; made by [`avg`].
#[derive(Debug, Clone, Copy)]
pub struct Avg<F, N> {
    number: F,
    kind: PhantomData<fn(N)>,
}

/// The average of a [`Number`] of each item.
pub fn avg<T, N: Number, F: Fn(&T) -> N>(number: F) -> Avg<F, N> {
    Avg { number, kind: PhantomData }
}

/// An average before it is divided, so that nothing of it is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Average<Total> {
    /// The sum.
    pub sum: Total,
    /// Of how many.
    pub count: u64,
}

impl Average<i128> {
    /// The quotient, as near as a fraction can be; `None` of nothing.
    pub fn value(&self) -> Option<f64> {
        let count = i128::from(self.count);
        let whole = self.sum.checked_div(count)?;
        Some(whole as f64 + (self.sum - whole * count) as f64 / count as f64)
    }
}

impl Average<f64> {
    /// The quotient; `None` of nothing.
    pub fn value(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

/// What is kept of an average.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AvgState<S> {
    sum: S,
    count: u64,
}

impl<T, N: Number, F: Fn(&T) -> N> Aggregation<T> for Avg<F, N> {
    type State = AvgState<N::State>;
    type Out = Average<N::Total>;

    fn start(&self) -> Self::State {
        AvgState { sum: N::State::default(), count: 0 }
    }

    fn add(&self, state: &mut Self::State, item: &T) {
        (self.number)(item).add_to(&mut state.sum);
        state.count += 1;
    }

    fn merge(&self, into: &mut Self::State, later: &Self::State) {
        N::merge(&mut into.sum, &later.sum);
        into.count += later.count;
    }

    fn finish(&self, state: &Self::State) -> Self::Out {
        Average { sum: N::total(&state.sum), count: state.count }
    }
}
