//! Operators between a source of events and what handles them.
//!
//! What it is: [batches](Batch), [debouncing](Debounce), [throttling](Throttle), [coalescing](Coalesce) and
//! [windows](Window) with their [aggregations](aggregate), as state machines that do no I/O, start nothing and read no
//! clock; and the ways to run them: a [`Flow`] with a consumer behind it, and [streams](Through). What it is not: a
//! queue or a store; what an operator holds is in memory, and gone after a crash. A handler of batches, on the bus or
//! behind a durable subscription, is registered with [`in_batches`](tidings_core::InBatches::in_batches) and needs
//! nothing of this. Who calls it: programs, on the bus and on any stream; subscriptions and applications, to gather
//! batches. Start with [`Operator`], then [`Batch`].
//!
//! Everything has a bound, and no operator refuses an item: at its bound it gives something out earlier than it would
//! have, says so in what it gives, and counts it.

pub mod aggregate;
mod batch;
mod coalesce;
mod debounce;
mod due;
mod error;
mod flow;
mod keyed;
mod operator;
mod refused;
mod stream;
mod throttle;
mod window;

pub use aggregate::Aggregation;
pub use batch::{Batch, BatchCounts};
pub use coalesce::{Coalesce, CoalesceCounts, Coalescing};
pub use debounce::{Debounce, DebounceCounts, Debouncing};
pub use error::{Error, ErrorKind};
pub use flow::{Builder, Drain, Figures, Flow, GivenUp, Input, KEPT_MAX, Left, QUEUE_MAX, Unfinished};
pub use operator::{Filter, Map, Operator, Then, filter, map};
pub use refused::{Refused, Why};
pub use stream::{Flowing, Through};
pub use throttle::{Tail, Throttle, ThrottleCounts, Throttling};
pub use tidings_core::{Answer, Batched, Batching, Cause, Failed};
pub use window::{
    Kept, KeptWindows, Shape, Span, Summary, WINDOW_DUE, Window, WindowCounts, WindowState, Windowed,
    WindowedCause, Windowing, event_time,
};
