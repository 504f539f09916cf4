//! The embedded store engine: one SQLite file, nothing to install.
//!
//! What is here: [`SqliteStore`], which implements the store port. What is not: any idea of handlers, subscriptions or
//! views; they are the port's users. Every statement is a file in `sql/`.
//!
//! ```text
//!  apply ──▶ queue ──▶ writer thread ──▶ BEGIN IMMEDIATE, check + write each, COMMIT (one sync) ──▶ ring, beat, answers
//!        └─ alone? ──▶ the same on the calling thread, without the hop
//!  read  ──▶ ring of recent events, else a pooled read-only connection in a short transaction
//! ```
//!
//! A commit is acknowledged when the write-ahead log has been synced. A killed process loses nothing; a power cut loses
//! nothing either as long as the disk keeps what it has confirmed as synced. Start reading at `store.rs`, then
//! `writer.rs`.

mod backup;
mod caches;
mod candidates;
mod check;
mod codec;
mod decode;
mod documents;
mod fault;
mod hash;
mod ids;
mod leases;
mod marks;
mod node;
mod open;
mod options;
mod pages;
mod queue;
mod readers;
mod ring;
mod search;
mod sql;
mod stats;
mod store;
mod varint;
mod verify;
mod write;
mod writer;

pub use open::{APPLICATION_ID, FORMAT};
pub use options::Options;
pub use store::SqliteStore;
