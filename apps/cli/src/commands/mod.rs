//! One file a command: its arguments, and what it does.

pub mod backup;
pub mod completions;
pub mod dead;
pub mod explain;
pub mod export;
pub mod find;
pub mod flags;
pub mod info;
pub mod ingest;
pub mod lint;
pub mod log;
pub mod policy;
mod reading;
pub mod stats;
pub mod stream;
pub mod subscription;
mod subscriptions;
pub mod tail;
pub mod verify;
pub mod view;
