//! The items themselves, and how many of them differ.

use std::{collections::BTreeSet, marker::PhantomData};

use serde::{Deserialize, Serialize};

use super::Aggregation;

/// Keeps items; made by [`collect`].
#[derive(Debug, Clone, Copy)]
pub struct Collect {
    most: usize,
}

/// The items, at most `most` of a window: in the order in which they came, where windows are parted or grow together
/// those of the earlier part first.
pub fn collect(most: usize) -> Collect {
    Collect { most }
}

/// Items, and how many there was no room for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected<T> {
    /// The items.
    pub items: Vec<T>,
    /// How many more there were.
    pub left_out: u64,
}

impl<T: Clone> Aggregation<T> for Collect {
    type State = Collected<T>;
    type Out = Collected<T>;

    fn start(&self) -> Collected<T> {
        Collected { items: Vec::new(), left_out: 0 }
    }

    fn add(&self, state: &mut Collected<T>, item: &T) {
        if state.items.len() < self.most {
            state.items.push(item.clone());
        } else {
            state.left_out += 1;
        }
    }

    fn merge(&self, into: &mut Collected<T>, later: &Collected<T>) {
        let room = self.most.saturating_sub(into.items.len()).min(later.items.len());
        into.items.extend_from_slice(&later.items[..room]);
        into.left_out += later.left_out + (later.items.len() - room) as u64;
    }

    fn finish(&self, state: &Collected<T>) -> Collected<T> {
        state.clone()
    }

    fn faults(&self) -> Vec<String> {
        if self.most == 0 {
            vec!["collect: must not be 0, or nothing is collected".into()]
        } else {
            Vec::new()
        }
    }
}

/// Counts values that differ; made by [`distinct`].
#[derive(Debug, Clone, Copy)]
pub struct Distinct<F, V> {
    most: usize,
    value: F,
    kind: PhantomData<fn(V)>,
}

/// How many different values the items have: exact up to `most` in a window, and then it says that there were more.
pub fn distinct<T, V: Ord + Clone, F: Fn(&T) -> V>(most: usize, value: F) -> Distinct<F, V> {
    Distinct { most, value, kind: PhantomData }
}

/// How many values differed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Different {
    /// How many.
    pub count: u64,
    /// Whether that is all; if not, there were more than could be told apart.
    pub is_exact: bool,
}

/// What is kept to tell values apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DistinctState<V: Ord> {
    values: BTreeSet<V>,
    is_exact: bool,
}

impl<V: Ord> DistinctState<V> {
    fn offer(&mut self, value: V, most: usize) {
        if self.values.len() < most {
            self.values.insert(value);
        } else if !self.values.contains(&value) {
            self.is_exact = false;
        }
    }
}

impl<T, V: Ord + Clone, F: Fn(&T) -> V> Aggregation<T> for Distinct<F, V> {
    type State = DistinctState<V>;
    type Out = Different;

    fn start(&self) -> DistinctState<V> {
        DistinctState { values: BTreeSet::new(), is_exact: true }
    }

    fn add(&self, state: &mut DistinctState<V>, item: &T) {
        state.offer((self.value)(item), self.most);
    }

    fn merge(&self, into: &mut DistinctState<V>, later: &DistinctState<V>) {
        later.values.iter().for_each(|value| into.offer(value.clone(), self.most));
        into.is_exact &= later.is_exact;
    }

    fn finish(&self, state: &DistinctState<V>) -> Different {
        Different { count: state.values.len() as u64, is_exact: state.is_exact }
    }

    fn faults(&self) -> Vec<String> {
        if self.most == 0 {
            vec!["distinct: must not be 0, or nothing is told apart".into()]
        } else {
            Vec::new()
        }
    }
}
