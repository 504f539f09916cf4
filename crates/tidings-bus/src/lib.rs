//! The in-process bus: events to whoever listens, now and in this process.
//!
//! What it is: typed listeners called in place and by reference, listeners to patterns of names, asynchronous ones, and
//! an error channel for what goes wrong in them. What it is not: a queue or a store; what nobody listens to is gone,
//! and nothing is tried again but by who waits for it. Start with [`Bus`].
//!
//! ```text
//!  Bus::emit(&E) ───► types ──► slot of E ──┐
//!  Emitter::emit(&E) ─────────► slot of E ──┼──► plan: the listeners in order ──► each called, each caught
//!  Bus::emit_envelope ─► subjects, by name ─┘      ▲                                        │ failed
//!                                                  │ made when missing                      ▼
//!  on, once, … ──► state: names ───────────────────┤ thrown away on change           error channel
//!  subscribe ────► state: router, by shape ────────┘
//! ```
//! What a bus was asked for besides calls, statistics, middleware and history, stands `around` the listeners of a
//! plan; a plan without any of it only knows that there is none. The leak watch looks where listeners join and leave.
//!
//! The left side takes no lock, but for those of a history and a log where they were asked for. What is registered lies under one lock, in `state`, and no user's code runs under it.

mod about;
mod again;
mod around;
mod asked;
mod awaited;
mod builder;
mod bus;
mod core;
mod decoded;
mod emission;
mod emit;
mod emitter;
mod errors;
#[doc(hidden)]
pub mod example;
mod failed;
mod few;
mod filter;
mod gate;
mod guard;
mod hear;
mod history;
mod leaks;
mod listen;
mod middleware;
mod module;
mod names;
mod namespace;
mod next;
mod notice;
mod plan;
mod plugin;
mod question;
mod rank;
mod registry;
mod request;
mod respond;
mod router;
mod running;
mod state;
mod stats;
mod stream;
mod subjects;
mod sync;
mod taking;
mod types;
mod waiting;
mod weak;

pub use about::Listener;
pub use awaited::{EmitAsync, Report};
pub use builder::{Builder, IN_FLIGHT_MAX};
pub use bus::Bus;
pub use emitter::Emitter;
pub use failed::{Fault, ListenerFailed};
pub use filter::{FILTER_CONDITIONS_MAX, FILTER_DEPTH_MAX, Filter};
pub use guard::{Guard, Owner};
pub use history::{HISTORY_LAST, HISTORY_TOPICS_MAX, HISTORY_WAITING_MAX, History, Replay};
pub use leaks::{
    LEAK_LIMIT, LEAK_NEAR_PERCENT, LEAK_ORIGINS_MAX, LEAK_SAMPLE_EVERY, LEAK_SAMPLES_MAX, LEAK_WATCHED_MAX,
    Leak, LeakLevel, LeakOrigin, LeakSample, LeakSuspected, LeakWatch, Leaks,
};
pub use listen::Listen;
pub use middleware::{MiddlewareInfo, Verdict};
pub use module::{Module, ModuleError, Modules, SetupFailure};
pub use namespace::Namespace;
pub use next::{Next, WaitError};
pub use plugin::{Plugin, PluginError, PluginInfo};
pub use question::{Question, REQUEST_TIMEOUT, RequestError};
pub use request::Request;
pub use stats::{
    Emitted, ListenerSlowed, ListenerStats, SLOW, STATS_LISTENERS_MAX, STATS_LOG_MAX, STATS_TOPICS_MAX,
    Slowness, Stats, StatsOptions, TopicStats, VERY_SLOW,
};
pub use stream::{EventStream, Overflow, StreamCounts, StreamEnd};
