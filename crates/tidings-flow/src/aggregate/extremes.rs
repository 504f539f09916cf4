//! The least and the greatest.

use std::cmp::Ordering;

use super::Aggregation;

/// Keeps the least or the greatest value; made by [`min`] and [`max`].
#[derive(Debug, Clone, Copy)]
pub struct Extreme<F> {
    value: F,
    replaces: Ordering,
}

/// The least value of the items.
///
/// What does not compare with itself, such as NaN, is passed over; of nothing but such there is no least. Of values
/// that do not compare with each other, and of equal ones, the first stays.
pub fn min<T, V: PartialOrd + Clone, F: Fn(&T) -> V>(value: F) -> Extreme<F> {
    Extreme { value, replaces: Ordering::Less }
}

/// The greatest value of the items; what does not compare is treated as by [`min`].
pub fn max<T, V: PartialOrd + Clone, F: Fn(&T) -> V>(value: F) -> Extreme<F> {
    Extreme { value, replaces: Ordering::Greater }
}

impl<F> Extreme<F> {
    fn offer<V: PartialOrd>(&self, state: &mut Option<V>, value: V) {
        let kept = state.as_ref();
        if kept.is_none_or(|kept| value.partial_cmp(kept) == Some(self.replaces)) {
            *state = Some(value);
        }
    }
}

impl<T, V: PartialOrd + Clone, F: Fn(&T) -> V> Aggregation<T> for Extreme<F> {
    type State = Option<V>;
    type Out = Option<V>;

    fn start(&self) -> Option<V> {
        None
    }

    fn add(&self, state: &mut Option<V>, item: &T) {
        let value = (self.value)(item);
        if value.partial_cmp(&value).is_some() {
            self.offer(state, value);
        }
    }

    fn merge(&self, into: &mut Option<V>, later: &Option<V>) {
        if let Some(value) = later {
            self.offer(into, value.clone());
        }
    }

    fn finish(&self, state: &Option<V>) -> Option<V> {
        state.clone()
    }
}
