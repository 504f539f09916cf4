//! How every job measures: peers interleaved in rounds, compared round by round.
//!
//! Figures of a shared machine drift by more than the differences we look for, so no figure is compared with one of
//! another run. In each *round* every peer is measured once, the order rotated by one from round to round; the *ratio*
//! of a peer is its figure divided by the reference's figure of the same round. What is told is the median over the
//! rounds, with the interquartile range; a goal gets no verdict where that range is over 10 % of the median.
//!
//! ```
//! use std::hint::black_box;
//! use tidings_benches::harness::{Job, Unit, at_most, nanos_each};
//!
//! # fn main() -> anyhow::Result<()> {
//! let numbers: Vec<u64> = (0..100).collect();
//! let mut job = Job::new("sum").rounds(15);
//! job.table("a hundred numbers", Unit::time("ns"))
//!     .reference("a loop", || {
//!         Ok(nanos_each(1_000, |_| {
//!             let mut sum = 0;
//!             for number in &numbers {
//!                 sum += black_box(number);
//!             }
//!             black_box(sum);
//!         }))
//!     })
//!     .peer("an iterator", || Ok(nanos_each(1_000, |_| drop(black_box(numbers.iter().map(black_box).sum::<u64>())))))
//!     .goal(at_most(100.0))
//!     .note("both read through black_box")
//!     .run()?;
//! # Ok(())
//! # }
//! ```
//! A peer's closure is one round of it: it does the work, checks that the work was done, and answers a figure in the
//! table's unit. [`nanos_each`] and [`per_second`] time a closure; a job that has its own way of timing (a latency
//! percentile, a child process) just answers its figure.
//!
//! **Disk jobs** say [`rounds(5)`](Job::rounds) and give the table a [`probe`](Table::probe), such as one appender to a
//! raw log: it runs before and after each round, and a round in which it moved by more than its tolerance is thrown
//! away and repeated, a bounded number of times.
//!
//! **Output.** A table on the terminal, with progress while it runs; and, if `TIDINGS_BENCH_OUT` names a file, one JSON
//! object a line appended to it for each peer: `job`, `subject`, `peer`, `unit`, `min`, `median`, `max`, `ratio` (the
//! median against the reference), `ratio_iqr` (its interquartile range), `goal`, `verdict` (`reached`, `missed` or
//! `no verdict (spread over 10 %)`), `note`, `guarantees`. What was not said is left out.

mod goal;
mod output;
mod stats;
mod table;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

pub use goal::{Goal, at_least, at_most};
pub use stats::Summary;
pub use table::{Measure, Table};

/// The variable that names the file to append results to.
pub const OUT: &str = "TIDINGS_BENCH_OUT";

/// How many rounds a job has unless it says otherwise; fewer make medians of what is measured in nanoseconds wander.
pub const ROUNDS: usize = 15;

/// A benchmark job: a name, and tables of peers.
#[derive(Debug, Clone)]
pub struct Job {
    name: String,
    rounds: usize,
    out: Option<PathBuf>,
}

impl Job {
    /// A job; its name is that of its binary, `env!("CARGO_BIN_NAME")`. Results go to the file named by [`OUT`], if it
    /// is set.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), rounds: ROUNDS, out: std::env::var_os(OUT).map(PathBuf::from) }
    }

    /// How many rounds each table has; at least one.
    pub fn rounds(self, rounds: usize) -> Self {
        Self { rounds: rounds.max(1), ..self }
    }

    /// Appends results to this file instead of the one named by the environment.
    pub fn output(self, file: impl Into<PathBuf>) -> Self {
        Self { out: Some(file.into()), ..self }
    }

    /// Begins a table: one subject, measured in one unit.
    pub fn table<'a>(&'a mut self, subject: impl Into<String>, unit: Unit) -> Table<'a> {
        Table::new(self, subject.into(), unit)
    }
}

/// What figures count, and which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    name: &'static str,
    better: Better,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Better {
    Less,
    More,
}

impl Unit {
    /// A time, such as `ns`: less is better.
    pub const fn time(name: &'static str) -> Self {
        Self { name, better: Better::Less }
    }

    /// A rate, such as `events/s`: more is better.
    pub const fn rate(name: &'static str) -> Self {
        Self { name, better: Better::More }
    }

    /// A size, such as `B`: less is better.
    pub const fn size(name: &'static str) -> Self {
        Self { name, better: Better::Less }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.name
    }

    fn direction(self) -> &'static str {
        match self.better {
            Better::Less => "less is better",
            Better::More => "more is better",
        }
    }
}

/// Calls `work` with 0, 1, … `times - 1` and answers how many nanoseconds each call took on average.
pub fn nanos_each(times: u64, work: impl FnMut(u64)) -> f64 {
    elapsed(times, work).as_nanos() as f64 / times.max(1) as f64
}

/// Calls `work` with 0, 1, … `times - 1` and answers how many calls a second that was.
pub fn per_second(times: u64, work: impl FnMut(u64)) -> f64 {
    times as f64 / elapsed(times, work).as_secs_f64().max(f64::MIN_POSITIVE)
}

fn elapsed(times: u64, mut work: impl FnMut(u64)) -> Duration {
    let started = Instant::now();
    for turn in 0..times {
        work(turn);
    }
    started.elapsed()
}

#[cfg(test)]
mod tests;
