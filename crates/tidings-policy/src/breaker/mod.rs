//! The circuit breaker.
//!
//! ```text
//!            too many failures                    reset has passed
//!   closed ───────────────────▶ open ────────────────────────────────▶ half-open
//!     ▲                          ▲                                      │     │
//!     │                          └──────────── probes failed ───────────┘     │
//!     └────────────────────────── probes worked ──────────────────────────────┘
//!   forced open and disabled: set by a person, left by a person
//! ```
//!
//! All that changes lies under one lock. Beside it is a word with the state and its number, so that a call through a
//! closed breaker that works takes no lock: it reads the word twice. A result counts only in the state its call began
//! in: what was started before the breaker opened says nothing about the probes.

mod window;

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidings_core::{Circuit, CircuitMode, Timestamp, Trip, Window};

use self::window::{Latest, Tally};

/// The state of a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// Calls go through and are counted.
    Closed,
    /// Calls are refused.
    Open,
    /// A few probes go through and decide.
    HalfOpen,
    /// Calls are refused until a person says otherwise.
    ForcedOpen,
    /// Calls go through and nothing is counted.
    Disabled,
}

/// How a call went, as a circuit breaker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It worked.
    Worked,
    /// It failed: transiently, by its timeout, by a panic.
    Failed,
    /// It says nothing about what is called: it was cancelled, or the event itself was refused.
    Ignored,
}

/// The right to one call through a circuit breaker; to be given back with its outcome, whatever happened.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Ticket(u64);

/// A circuit breaker, on the clock of whoever asks.
///
/// ```
/// use std::time::Duration;
/// use tidings_core::{Circuit, Timestamp};
/// use tidings_policy::{Breaker, BreakerState, Outcome};
/// let breaker = Breaker::new(Circuit::open_after(2));
/// let now = Timestamp::from_millis(0);
/// for _ in 0..2 {
///     let (ticket, _) = breaker.enter(now).expect("it is closed");
///     breaker.leave(ticket, Outcome::Failed, Duration::ZERO, now);
/// }
/// assert_eq!(breaker.state(), BreakerState::Open);
/// assert_eq!(breaker.enter(now), Err(Duration::from_secs(30)));
/// ```
#[derive(Debug)]
pub struct Breaker {
    circuit: Circuit,
    /// The state in the lowest three bits, its number above.
    word: AtomicU64,
    /// Failures in a row, while closed; changed under the lock.
    failures: AtomicU32,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    latest: Latest,
    opened: Timestamp,
    /// Half-open: how many may still begin, and how those went that have answered.
    probes_left: u32,
    probed: Tally,
}

const BITS: u64 = 0b111;

/// When to ask again while probes are out: how soon they answer nobody knows.
const PROBING: Duration = Duration::from_secs(1);

impl Breaker {
    /// Closed, or what its mode says.
    pub fn new(circuit: Circuit) -> Self {
        let window = match &circuit.trip {
            Trip::Rate { window, .. } => window.clone(),
            Trip::Consecutive(_) => Window::Calls(1),
        };
        let state = of_mode(circuit.mode);
        let inner = Inner {
            latest: Latest::new(window),
            opened: Timestamp::from_micros(0),
            probes_left: 0,
            probed: Tally::default(),
        };
        Self {
            circuit,
            word: AtomicU64::new(state as u64),
            failures: AtomicU32::new(0),
            inner: Mutex::new(inner),
        }
    }

    /// What it was made from.
    pub fn circuit(&self) -> &Circuit {
        &self.circuit
    }

    /// The state. An open breaker whose time has passed is open until somebody asks to enter.
    pub fn state(&self) -> BreakerState {
        state(self.word.load(Ordering::Acquire))
    }

    /// Whether calls are refused now, and for how long. Takes nothing.
    pub fn refuses(&self, now: Timestamp) -> Option<Duration> {
        if state(self.word.load(Ordering::Acquire)) == BreakerState::Closed {
            return None;
        }
        let mut inner = self.inner.lock();
        match self.state() {
            BreakerState::Open => inner.left(&self.circuit, now),
            BreakerState::HalfOpen if inner.probes_left == 0 => Some(self.circuit.reset.min(PROBING)),
            BreakerState::ForcedOpen => Some(self.circuit.reset),
            BreakerState::Closed | BreakerState::HalfOpen | BreakerState::Disabled => None,
        }
    }

    /// Asks for a call; answers the state if it has just changed. The ticket has to come back through
    /// [`leave`](Self::leave).
    ///
    /// # Errors
    /// When it refuses: when to ask again.
    #[inline]
    pub fn enter(&self, now: Timestamp) -> Result<(Ticket, Option<BreakerState>), Duration> {
        let word = self.word.load(Ordering::Acquire);
        match state(word) {
            BreakerState::Closed | BreakerState::Disabled => Ok((Ticket(word), None)),
            BreakerState::Open | BreakerState::HalfOpen | BreakerState::ForcedOpen => self.enter_slowly(now),
        }
    }

    fn enter_slowly(&self, now: Timestamp) -> Result<(Ticket, Option<BreakerState>), Duration> {
        let mut inner = self.inner.lock();
        let mut changed = None;
        match self.state() {
            BreakerState::Closed | BreakerState::Disabled => return Ok((self.ticket(), None)),
            BreakerState::ForcedOpen => return Err(self.circuit.reset),
            BreakerState::Open => {
                if let Some(left) = inner.left(&self.circuit, now) {
                    return Err(left);
                }
                changed = self.become_state(&mut inner, BreakerState::HalfOpen, now);
            }
            BreakerState::HalfOpen => {}
        }
        match inner.probes_left.checked_sub(1) {
            Some(left) => inner.probes_left = left,
            // Those that are out decide.
            None => return Err(self.circuit.reset.min(PROBING)),
        }
        Ok((self.ticket(), changed))
    }

    /// Tells how a call went; answers the state if it has just changed.
    #[inline]
    pub fn leave(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        took: Duration,
        now: Timestamp,
    ) -> Option<BreakerState> {
        let easy = outcome == Outcome::Worked
            && state(ticket.0) == BreakerState::Closed
            && matches!(self.circuit.trip, Trip::Consecutive(_))
            && self.circuit.slow.is_none()
            && self.failures.load(Ordering::Relaxed) == 0;
        if easy {
            return None;
        }
        self.leave_slowly(&ticket, outcome, took, now)
    }

    fn leave_slowly(
        &self,
        ticket: &Ticket,
        outcome: Outcome,
        took: Duration,
        now: Timestamp,
    ) -> Option<BreakerState> {
        if state(ticket.0) == BreakerState::Disabled {
            return None;
        }
        let mut inner = self.inner.lock();
        let word = self.word.load(Ordering::Acquire);
        if word != ticket.0 {
            return None;
        }
        let slow = self.circuit.slow.as_ref().is_some_and(|slow| took > slow.after);
        let next = match (state(word), outcome) {
            (BreakerState::HalfOpen, Outcome::Ignored) => {
                inner.probes_left += 1;
                None
            }
            (_, Outcome::Ignored) => None,
            (BreakerState::HalfOpen, outcome) => self.probed(&mut inner, outcome == Outcome::Failed, slow),
            (_, outcome) => self.counted(&mut inner, outcome == Outcome::Failed, slow, now),
        };
        next.and_then(|next| self.become_state(&mut inner, next, now))
    }

    /// A call through the closed breaker has answered.
    fn counted(&self, inner: &mut Inner, failed: bool, slow: bool, now: Timestamp) -> Option<BreakerState> {
        let opens = match &self.circuit.trip {
            Trip::Consecutive(most) => {
                let failures = if failed || slow { self.failures.load(Ordering::Relaxed) + 1 } else { 0 };
                self.failures.store(failures, Ordering::Relaxed);
                failures >= *most
            }
            Trip::Rate { calls_min, .. } => {
                inner.latest.add(failed, slow, now);
                let tally = inner.latest.tally(now);
                tally.calls >= *calls_min && self.is_too_much(tally)
            }
        };
        opens.then_some(BreakerState::Open)
    }

    /// A probe has answered.
    fn probed(&self, inner: &mut Inner, failed: bool, slow: bool) -> Option<BreakerState> {
        inner.probed.add(failed, slow);
        let all = inner.probed.calls >= self.circuit.probes;
        match &self.circuit.trip {
            Trip::Consecutive(_) if failed || slow => Some(BreakerState::Open),
            Trip::Rate { .. } if all && self.is_too_much(inner.probed) => Some(BreakerState::Open),
            Trip::Consecutive(_) | Trip::Rate { .. } => all.then_some(BreakerState::Closed),
        }
    }

    fn is_too_much(&self, tally: Tally) -> bool {
        let Trip::Rate { share, .. } = &self.circuit.trip else { return false };
        let of = |count: u32| f64::from(count) / f64::from(tally.calls.max(1));
        let slow = self.circuit.slow.as_ref().map(|slow| slow.share.unwrap_or(1.0));
        of(tally.failed) >= *share || slow.is_some_and(|share| of(tally.slow) >= share)
    }

    /// Sets it by hand: open until told otherwise, out of the way, or by itself again, and then closed. Answers the
    /// state if it has changed.
    pub fn set(&self, mode: CircuitMode, now: Timestamp) -> Option<BreakerState> {
        let mut inner = self.inner.lock();
        let (next, current) = (of_mode(mode), self.state());
        let by_hand = matches!(current, BreakerState::ForcedOpen | BreakerState::Disabled);
        match mode {
            // It works by itself already; what it has found out stays.
            CircuitMode::Auto if !by_hand => None,
            CircuitMode::Auto | CircuitMode::Open | CircuitMode::Disabled if next == current => None,
            CircuitMode::Auto | CircuitMode::Open | CircuitMode::Disabled => {
                self.become_state(&mut inner, next, now)
            }
        }
    }

    /// The only place where a state begins.
    fn become_state(&self, inner: &mut Inner, next: BreakerState, now: Timestamp) -> Option<BreakerState> {
        inner.latest.clear();
        inner.probed = Tally::default();
        self.failures.store(0, Ordering::Relaxed);
        match next {
            BreakerState::Open => inner.opened = now,
            BreakerState::HalfOpen => inner.probes_left = self.circuit.probes,
            BreakerState::Closed | BreakerState::ForcedOpen | BreakerState::Disabled => {}
        }
        let number = (self.word.load(Ordering::Acquire) & !BITS).wrapping_add(BITS + 1);
        self.word.store(number | next as u64, Ordering::Release);
        Some(next)
    }

    fn ticket(&self) -> Ticket {
        Ticket(self.word.load(Ordering::Acquire))
    }
}

impl Inner {
    /// How long it stays open, if it does. The time of opening is never moved by refused calls; a clock that was set back begins the
    /// wait anew, once.
    fn left(&mut self, circuit: &Circuit, now: Timestamp) -> Option<Duration> {
        self.opened = self.opened.min(now);
        Some(self.opened.after(circuit.reset).since(now)).filter(|left| !left.is_zero())
    }
}

fn of_mode(mode: CircuitMode) -> BreakerState {
    match mode {
        CircuitMode::Auto => BreakerState::Closed,
        CircuitMode::Open => BreakerState::ForcedOpen,
        CircuitMode::Disabled => BreakerState::Disabled,
    }
}

fn state(word: u64) -> BreakerState {
    match word & BITS {
        0 => BreakerState::Closed,
        1 => BreakerState::Open,
        2 => BreakerState::HalfOpen,
        3 => BreakerState::ForcedOpen,
        _ => BreakerState::Disabled,
    }
}
