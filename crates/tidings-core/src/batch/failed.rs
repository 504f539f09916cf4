//! How a consumer says that it failed, wholly or in part.

use std::fmt;

use crate::{Batched, Failure, Handled};

/// A consumer failed with what it was given, or with some of the items in it.
///
/// A [`Failure`] becomes one by `?`; which items failed, [`Batched::failed`] or [`Failed::at`] says.
pub struct Failed<Out> {
    failure: Failure,
    indices: Vec<usize>,
    rest: Option<Out>,
}

impl<Out> Failed<Out> {
    /// These items failed, counted from 0, and the others are done. Naming none says that all failed.
    pub fn at(indices: impl IntoIterator<Item = usize>, failure: Failure) -> Self {
        let mut indices: Vec<usize> = indices.into_iter().collect();
        indices.sort_unstable();
        indices.dedup();
        Self { failure, indices, rest: None }
    }

    /// Why.
    pub fn failure(&self) -> &Failure {
        &self.failure
    }

    /// Which items failed, in order; none means all.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// Why, and what is left to do where that is less than all.
    pub fn into_parts(self) -> (Failure, Option<Out>) {
        (self.failure, self.rest)
    }

    /// What became of the item at `index`.
    ///
    /// # Errors
    /// That it failed.
    pub fn of(&self, index: usize) -> Handled {
        let failed = self.indices.is_empty() || self.indices.binary_search(&index).is_ok();
        if failed { Err(self.failure.clone()) } else { Ok(()) }
    }
}

impl<Out> From<Failure> for Failed<Out> {
    fn from(failure: Failure) -> Self {
        Self { failure, indices: Vec::new(), rest: None }
    }
}

impl<Out> fmt::Debug for Failed<Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failed")
            .field("failure", &self.failure)
            .field("indices", &self.indices)
            .finish_non_exhaustive()
    }
}

impl<T: Clone, K: Clone> Batched<T, K> {
    /// Says that these items failed, counted from 0, and that the others are done: only these are tried again. Naming
    /// none says that all failed; a number beyond the last is passed over.
    ///
    /// ```
    /// use tidings_core::{Batched, Cause, Failure};
    /// let batch = Batched { key: (), items: vec!["a", "b", "c"], cause: Cause::Items };
    /// let failed = batch.failed([2, 0], Failure::transient("the printer is out of paper"));
    /// assert_eq!(failed.indices(), [0, 2]);
    /// ```
    pub fn failed(&self, indices: impl IntoIterator<Item = usize>, failure: Failure) -> Failed<Self> {
        let here = indices.into_iter().filter(|index| *index < self.items.len());
        let mut failed = Failed::at(here, failure);
        if !failed.indices.is_empty() {
            let items = failed.indices.iter().filter_map(|index| self.items.get(*index).cloned()).collect();
            failed.rest = Some(Self { key: self.key.clone(), items, cause: self.cause });
        }
        failed
    }
}

/// What a consumer may return: nothing, a [`Handled`], or a result that names the items that failed.
#[diagnostic::on_unimplemented(
    message = "a consumer cannot return `{Self}`",
    label = "this does not say whether the consumer is done",
    note = "return nothing, `Handled`, or `Result<(), Failed<_>>`"
)]
pub trait Answer<Out>: Send {
    /// As a result.
    ///
    /// # Errors
    /// What failed, and why.
    fn into_answer(self) -> Result<(), Failed<Out>>;
}

impl<Out> Answer<Out> for () {
    fn into_answer(self) -> Result<(), Failed<Out>> {
        Ok(())
    }
}

impl<Out> Answer<Out> for Handled {
    fn into_answer(self) -> Result<(), Failed<Out>> {
        Ok(self?)
    }
}

impl<Out: Send> Answer<Out> for Result<(), Failed<Out>> {
    fn into_answer(self) -> Self {
        self
    }
}
