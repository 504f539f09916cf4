//! Notices: what the bus has to say about itself, as events on itself.
//!
//! A listener to a notice may do what causes the next one. What happens *because of* a notice is therefore logged by
//! whoever notices it, and not told again: notices cannot feed themselves.

use std::{cell::RefCell, sync::Arc};

use tidings_core::Event;

use crate::{core::Core, emission::Emission};

thread_local! {
    /// The buses whose listeners are being told a notice further up this thread's stack.
    static TELLING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Emits a notice, unless this thread runs because of one. Never under a lock.
pub(crate) fn tell<E: Event>(core: &Arc<Core>, notice: &E) {
    let id = Arc::as_ptr(core).addr();
    if TELLING.with_borrow(|buses| buses.contains(&id)) {
        return;
    }
    let _telling = Telling::begin(id);
    core.emit(notice, &Emission::new(core, notice));
}

struct Telling;

impl Telling {
    fn begin(id: usize) -> Self {
        TELLING.with_borrow_mut(|buses| buses.push(id));
        Self
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        TELLING.with_borrow_mut(Vec::pop);
    }
}
