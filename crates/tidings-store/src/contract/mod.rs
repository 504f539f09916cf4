//! The contract suite: what every engine must do, one named row a promise.
//!
//! An engine's tests call [`run`] and [`histories`] with a factory of fresh stores; nothing else is needed to know
//! that it keeps the port's promises. Rows ask for one promise each, with what must *not* happen beside it; histories
//! compare every answer of the engine with those of [`MemoryStore`](crate::MemoryStore). The suite is itself tested
//! against engines that are wrong on purpose (`tests/broken`). What only one engine has (files, backups, several
//! processes, crashes) is tested where that engine lives, not here.
//!
//! ```
//! use std::sync::Arc;
//! use tidings_core::{ManualClock, Timestamp};
//! use tidings_store::{MemoryStore, contract};
//!
//! # tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
//! let fresh = || async {
//!     let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
//!     contract::Fresh::new(Arc::new(MemoryStore::new(Arc::new(clock.clone()))), clock)
//! };
//! contract::histories(fresh, 1..=3, 50).await;
//! # });
//! ```

#[macro_use]
mod kit;

mod append;
mod beats;
mod blind;
mod blobs;
mod checkpoints;
mod closing;
mod concurrent;
mod conditions;
mod documents;
mod driver;
mod due;
mod envelopes;
mod figures;
mod filters;
mod fresh;
mod history;
mod ids;
mod leases;
mod limits;
mod listing;
mod ordered;
mod pages;
mod persistence;
mod read;
mod show;
mod tenants;
mod times;
mod together;

pub use driver::{Row, failures, rows, run};
pub use fresh::{Fresh, Reopen};
pub use history::{Difference, History, histories, history};
