//! Benchmarks: our code and its peers, side by side in one run.
//!
//! Each binary is a job; all of them measure with the [`harness`]. Run them with `cargo xtask bench [JOB]`, or one alone
//! with `cargo run --release -p tidings-benches --bin JOB`, which prints the same tables.

pub mod audit;
pub mod buffered;
pub mod busy;
pub mod child;
pub mod disk;
pub mod harness;
pub mod node;
pub mod observed;
pub mod peers;
pub mod queues;
pub mod sublist;
pub mod topics;
pub mod workload;
