//! What threads share, by the names under which the bus uses it.
//!
//! The test of interleavings is built with the feature `shuttle` and finds other types here, which let it decide at each
//! use which thread goes on.

#[cfg(not(feature = "shuttle"))]
pub(crate) use self::real::*;
#[cfg(feature = "shuttle")]
pub(crate) use self::tested::*;

#[cfg(not(feature = "shuttle"))]
mod real {
    use std::sync::Arc;

    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    pub(crate) use arc_swap::ArcSwapOption;
    pub(crate) use parking_lot::Mutex;

    /// What was in a place when it was looked at.
    pub(crate) type Loaded<T> = arc_swap::Guard<Option<Arc<T>>>;
}

#[cfg(feature = "shuttle")]
mod tested {
    use std::{ops::Deref, sync::Arc};

    use shuttle::sync::MutexGuard;
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// A lock that does not care whether a thread has panicked with it.
    #[derive(Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
        }
    }

    /// A place for something shared, exchanged at once.
    pub(crate) struct ArcSwapOption<T>(Mutex<Option<Arc<T>>>);

    impl<T> Default for ArcSwapOption<T> {
        fn default() -> Self {
            Self::empty()
        }
    }

    impl<T> ArcSwapOption<T> {
        pub(crate) fn empty() -> Self {
            Self(Mutex::new(None))
        }

        pub(crate) fn load(&self) -> Loaded<T> {
            Loaded(self.load_full())
        }

        pub(crate) fn load_full(&self) -> Option<Arc<T>> {
            self.0.lock().clone()
        }

        pub(crate) fn store(&self, value: Option<Arc<T>>) {
            drop(self.swap(value));
        }

        pub(crate) fn swap(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
            std::mem::replace(&mut *self.0.lock(), value)
        }
    }

    /// What was in a place when it was looked at.
    pub(crate) struct Loaded<T>(Option<Arc<T>>);

    impl<T> Loaded<T> {
        pub(crate) fn into_inner(self) -> Option<Arc<T>> {
            self.0
        }
    }

    impl<T> Deref for Loaded<T> {
        type Target = Option<Arc<T>>;

        fn deref(&self) -> &Self::Target {
            &self.0
        }
    }
}
