//! Settings of a queue.

use std::{thread, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{size, span};

/// The most workers there may be.
pub const WORKERS_MAX: usize = 20;

/// Settings of a queue. All of them can be changed while it runs.
///
/// ```
/// let faults = tidings_queue::Config { workers: 0, bytes_max: 0, ..Default::default() }.faults();
/// assert_eq!(faults.len(), 2);
/// assert!(faults[0].starts_with("workers: "));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many threads work, 1 to [`WORKERS_MAX`]; as many as the machine runs at once, unless said otherwise.
    pub workers: usize,
    /// The most entries, waiting and running together; 10,000.
    pub events_max: usize,
    /// The most bytes, waiting and running together; 50 MiB.
    pub bytes_max: usize,
    /// Who is next; by weight 3:2:1.
    pub order: Order,
    /// An entry that has waited for this long rises to the next priority, and again; a second. An entry with a key is
    /// counted from when it is the first of its key.
    #[serde(with = "span")]
    pub ageing: Duration,
    /// How long a worker that found nothing keeps looking before it sleeps; not at all, unless said otherwise, for it
    /// costs a processor. One to which something came within ten microseconds the last time looks for as long again in any
    /// case: to be woken takes whoever publishes longer than that.
    #[serde(with = "span")]
    pub spin: Duration,
    /// How many asynchronous handlers a worker drives at once; 256.
    pub concurrency: usize,
    /// Whether the number of workers follows the load; no.
    pub scaling: Option<Scaling>,
    /// How long a worker that died waits before it is started again; a second, doubling with each death.
    #[serde(with = "span")]
    pub restart_first: Duration,
    /// How long it waits at most; 30 seconds. After that long without a death it begins anew.
    #[serde(with = "span")]
    pub restart_max: Duration,
    /// A synchronous handler that holds its worker for longer is reported; a second. It is noticed after between one and
    /// one and a half times as long.
    #[serde(with = "span")]
    pub blocked_after: Duration,
    /// Whether how long entries wait and take is measured, for percentiles; yes. What is counted is counted always.
    pub timings: bool,
}

/// Who is next when several wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    /// Of as many entries as these numbers add up to, so many are of each priority, as long as all wait.
    Weighted {
        /// How many critical ones.
        critical: u32,
        /// How many normal ones.
        normal: u32,
        /// How many low ones.
        low: u32,
    },
    /// The highest first. Only [ageing](Config::ageing) lets the low ones through.
    Strict,
}

/// The number of workers follows the load, one at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scaling {
    /// The fewest workers; 1.
    pub min: usize,
    /// The most workers; as many as the machine runs at once.
    pub max: usize,
    /// A worker more from this load on, 0 to 1; 0.8. The load is the larger of the share of time in which the workers
    /// were busy, and the part of the queue's room that is taken.
    pub up: f64,
    /// A worker less from this load down; 0.2.
    pub down: f64,
    /// How often the load is looked at; a second.
    #[serde(with = "span")]
    pub interval: Duration,
    /// How many times in a row the load has to be so before anything is changed; 3.
    pub hold: u32,
}

fn parallelism() -> usize {
    thread::available_parallelism().map_or(2, usize::from).min(WORKERS_MAX)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: parallelism(),
            events_max: 10_000,
            bytes_max: 50 * 1024 * 1024,
            order: Order::default(),
            ageing: Duration::from_secs(1),
            spin: Duration::ZERO,
            concurrency: 256,
            scaling: None,
            restart_first: Duration::from_secs(1),
            restart_max: Duration::from_secs(30),
            blocked_after: Duration::from_secs(1),
            timings: true,
        }
    }
}

impl Default for Order {
    fn default() -> Self {
        Self::Weighted { critical: 3, normal: 2, low: 1 }
    }
}

impl Default for Scaling {
    fn default() -> Self {
        Self { min: 1, max: parallelism(), up: 0.8, down: 0.2, interval: Duration::from_secs(1), hold: 3 }
    }
}

impl Config {
    /// Everything that is wrong with the values, each with its field.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let counts = [
            ("workers", self.workers, WORKERS_MAX),
            ("events_max", self.events_max, size::EVENTS_MAX),
            ("bytes_max", self.bytes_max, size::BYTES_MAX),
            ("concurrency", self.concurrency, size::EVENTS_MAX),
        ];
        for (field, count, most) in counts {
            between(&mut faults, field, count, 1, most);
        }
        let spans = [
            ("ageing", self.ageing),
            ("restart_first", self.restart_first),
            ("restart_max", self.restart_max),
            ("blocked_after", self.blocked_after),
        ];
        for (field, span) in spans {
            lasting(&mut faults, field, span);
        }
        if self.spin > Duration::from_secs(1) {
            faults.push("spin: must be at most a second, for it costs a processor".into());
        }
        if self.restart_max < self.restart_first {
            faults.push("restart_max: must not be less than restart_first".into());
        }
        if let Order::Weighted { critical, normal, low } = self.order {
            for (field, weight) in [("critical", critical), ("normal", normal), ("low", low)] {
                between(&mut faults, &format!("order.weighted.{field}"), weight as usize, 1, 1_000);
            }
        }
        if let Some(scaling) = &self.scaling {
            scaling.faults(&mut faults);
        }
        faults
    }
}

impl Scaling {
    fn faults(&self, faults: &mut Vec<String>) {
        between(faults, "scaling.max", self.max, 1, WORKERS_MAX);
        between(faults, "scaling.min", self.min, 1, self.max.max(1));
        for (field, load) in [("up", self.up), ("down", self.down)] {
            if !(0.0..=1.0).contains(&load) {
                faults.push(format!("scaling.{field}: must be between 0 and 1, not {load}"));
            }
        }
        if self.down >= self.up {
            faults.push("scaling.down: must be less than scaling.up".into());
        }
        lasting(faults, "scaling.interval", self.interval);
        between(faults, "scaling.hold", self.hold as usize, 1, 1_000);
    }
}

fn between(faults: &mut Vec<String>, field: &str, count: usize, least: usize, most: usize) {
    if !(least..=most).contains(&count) {
        faults.push(format!("{field}: must be between {least} and {most}, not {count}"));
    }
}

fn lasting(faults: &mut Vec<String>, field: &str, span: Duration) {
    if span < Duration::from_millis(1) || span > Duration::from_secs(366 * 24 * 3600) {
        faults.push(format!("{field}: must be between a millisecond and a year, not {span:?}"));
    }
}
