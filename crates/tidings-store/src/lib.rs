//! The store port and the in-memory engine.
//!
//! A store keeps five things: the log of events, documents, checkpoints and leases, rows that become due, and blobs.
//! Everything is written through one function, [`Store::apply`], which takes a
//! [`Commit`](tidings_core::Commit). Engines live in crates of their own and pass the contract suite (feature
//! `contract`); [`MemoryStore`] is the reference model they are compared with. Here is no SQL.

mod checks;
#[cfg(feature = "contract")]
pub mod contract;
mod error;
mod memory;
mod port;

pub use checks::{Limits, check};
pub use error::{Error, ErrorKind};
pub use memory::MemoryStore;
pub use port::{
    AnyStore, Applied, Beat, Checkpoint, Direction, Document, DocumentQuery, FAULTS_MAX, Fault, Filter,
    Lease, PAGE_BYTES, PAGE_EVENTS_MAX, Page, Progress, Read, Recorded, Store, StoreInfo, StoreStats,
    Tenants, Verified, stream_category,
};
