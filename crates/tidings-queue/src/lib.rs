//! A bounded queue with priorities and order by key, and the threads that work it off.
//!
//! What it is: entries wait in lanes by [priority](tidings_core::Priority) and key, within a bound on their number and
//! on their bytes; worker threads of the queue's own take them by weight, drive asynchronous work without a task an
//! entry, and are scaled while they run. What it is not: it knows no events, handlers, retries or settlements; what an
//! entry is and what becomes of it is said by a [`Work`]. Nothing is stored. Who calls it: the runtime.
//! Start with [`Queue`], then [`Work`] and [`Config`].
//!
//! What it keeps, whatever happens: an accepted entry is given to the work exactly once at a time, and again only if the
//! work says so; entries of one key run one at a time in the order they were pushed, across workers, retries, scaling
//! and the death of a worker; the bound is never exceeded; nothing is dropped without being handed back.
//!
//! ```
//! use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
//! use std::time::Duration;
//! use tidings_core::{Priority, SystemClock};
//! use tidings_queue::{Config, Entry, Notice, Queue, Step, Turn, Work};
//!
//! struct Sum(AtomicU64);
//! impl Work for Sum {
//!     type Item = u64;
//!     fn run(&self, item: u64, _: &Turn<'_>) -> Step<u64> {
//!         self.0.fetch_add(item, Ordering::Relaxed);
//!         Step::Done
//!     }
//!     fn notice(&self, _: Notice) {}
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let sum = Arc::new(Sum(AtomicU64::new(0)));
//! let runtime = tokio::runtime::Handle::current();
//! let queue = Queue::start(Config::default(), sum.clone(), Arc::new(SystemClock), runtime).unwrap();
//! for item in 1..=4 {
//!     queue.push(Entry { item, key: None, priority: Priority::Normal, bytes: 8 }).unwrap();
//! }
//! let left = queue.drained(Duration::from_secs(10)).await;
//! assert!(left.is_empty());
//! assert_eq!(sum.0.load(Ordering::Relaxed), 10);
//! # });
//! ```

mod config;
mod driver;
mod entry;
mod error;
mod figures;
mod histogram;
mod inbox;
mod keeper;
mod lanes;
mod levels;
mod post;
mod queue;
mod reserve;
mod room;
mod shared;
mod size;
mod span;
mod sync;
mod work;
mod worker;

pub use config::{Config, Order, Scaling, WORKERS_MAX};
pub use entry::{Entry, Full, Left, Why};
pub use error::{Error, ErrorKind};
pub use figures::{Figures, Percentiles, WorkerFigures};
pub use queue::Queue;
pub use room::{Held, Reserved};
pub use work::{Cause, Notice, Step, Turn, Work};
