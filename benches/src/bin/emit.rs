//! What does it cost to tell listeners of an event?
//!
//! Four event types take turns, each with its own list, and the listeners have four different bodies, since one of each
//! would flatter everybody: the processor predicts what never changes. A figure is the time of one emission.

use std::{
    collections::HashMap,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use signals2::{Connect1, Emit1, Signal};
use tidings_benches::harness::{Job, Unit, at_most, nanos_each};
use tidings_bus::{Bus, Guard};
use tidings_core::{Envelope, Event, EventInfo};

/// How many emissions a round has for a list of one; longer lists have fewer. A round is well under a millisecond, so
/// that most of them fall between two interruptions; there are the more of them.
const EMISSIONS: u64 = 100_000;

/// How many rounds there are.
const ROUNDS: usize = 201;

/// How many names take turns where events are emitted by name.
const NAMES: usize = 64;

macro_rules! events {
    ($($event:ident = $name:literal),*) => {$(
        #[derive(Clone, Copy, Serialize, Deserialize)]
        struct $event {
            cents: u64,
        }

        impl Event for $event {
            const INFO: &'static EventInfo = &EventInfo { name: $name, version: 1, fields: &[] };
        }
    )*};
}

events!(Placed = "order.placed", Paid = "order.paid", Sent = "order.sent", Closed = "order.closed");

type List<E> = Vec<Box<dyn Fn(&E) + Send + Sync>>;

/// What the listeners write to, so that their work is not optimised away: one cell each.
#[derive(Clone, Default)]
struct Total(Arc<AtomicU64>);

impl Total {
    /// Not one atomic addition, which would cost more than everything that is measured.
    fn set(&self, change: impl FnOnce(u64) -> u64) {
        self.0.store(change(self.0.load(Ordering::Relaxed)), Ordering::Relaxed);
    }
}

/// Gives `$add` the listener whose turn it is, of four.
macro_rules! body {
    ($turn:expr, $add:expr, $event:ty, $cents:expr) => {{
        let (total, cents) = (Total::default(), $cents);
        match $turn % 4 {
            0 => $add(move |event: $event| total.set(|sum| sum.wrapping_add(cents(event)))),
            1 => $add(move |event: $event| total.set(|sum| sum ^ cents(event))),
            2 => $add(move |event: $event| total.set(|sum| sum.max(cents(event)))),
            _ => $add(move |event: $event| {
                let cents = cents(event);
                if cents % 2 == 0 {
                    total.set(|sum| sum.wrapping_sub(cents));
                }
            }),
        }
    }};
}

/// The reference: what a person would write who needs nothing but calls.
fn list<E: Event>(
    first: usize,
    listeners: usize,
    cents: impl Fn(&E) -> u64 + Copy + Send + Sync + 'static,
) -> List<E> {
    let mut list: List<E> = Vec::new();
    for turn in first..first + listeners {
        body!(turn, |listener| list.push(boxed(listener)), &E, cents);
    }
    list
}

fn boxed<E>(listener: impl Fn(&E) + Send + Sync + 'static) -> Box<dyn Fn(&E) + Send + Sync> {
    Box::new(listener)
}

fn fill<E: Event>(
    bus: &Bus,
    first: usize,
    listeners: usize,
    cents: impl Fn(&E) -> u64 + Copy + Send + Sync + 'static,
) {
    for turn in first..first + listeners {
        body!(turn, |listener| on(bus, listener), &E, cents);
    }
}

fn on<E: Event>(bus: &Bus, listener: impl Fn(&E) + Send + Sync + 'static) {
    bus.on(listener).forever();
}

fn signal(first: usize, listeners: usize) -> Signal<(u64,)> {
    let signal: Signal<(u64,)> = Signal::new();
    for turn in first..first + listeners {
        body!(turn, |listener| drop(signal.connect(listener)), u64, |cents: u64| cents);
    }
    signal
}

fn each<E>(list: &List<E>, event: &E) -> usize {
    for listener in list {
        listener(event);
    }
    list.len()
}

/// One round: `emissions` of them, four a turn, after which as many listeners must have been heard as there are.
fn round(emissions: u64, listeners: usize, mut four: impl FnMut(u64) -> usize) -> Result<f64> {
    let (turns, mut heard) = (emissions / 4, 0);
    let nanos = nanos_each(turns, |turn| heard += four(black_box(turn)));
    let expected = turns as usize * 4 * listeners;
    ensure!(heard == expected, "{heard} calls of listeners, not {expected}");
    Ok(nanos / 4.0)
}

fn by_type(job: &mut Job, listeners: usize) -> Result<()> {
    let emissions = EMISSIONS / listeners as u64;
    let lists = (
        list(0, listeners, |event: &Placed| event.cents),
        list(1, listeners, |event: &Paid| event.cents),
        list(2, listeners, |event: &Sent| event.cents),
        list(3, listeners, |event: &Closed| event.cents),
    );
    let bus = Bus::new();
    fill(&bus, 0, listeners, |event: &Placed| event.cents);
    fill(&bus, 1, listeners, |event: &Paid| event.cents);
    fill(&bus, 2, listeners, |event: &Sent| event.cents);
    fill(&bus, 3, listeners, |event: &Closed| event.cents);
    let emitters =
        (bus.emitter::<Placed>(), bus.emitter::<Paid>(), bus.emitter::<Sent>(), bus.emitter::<Closed>());
    let signals: [Signal<(u64,)>; 4] = std::array::from_fn(|first| signal(first, listeners));
    let (by_handle, by_type) = match listeners {
        1 => (2.1, 5.0),
        10 => (1.2, 1.2),
        _ => (1.1, 1.1),
    };
    job.table(format!("{listeners} listeners"), Unit::time("ns"))
        .reference("Vec<Box<dyn Fn>>", || {
            round(emissions, listeners, |cents| {
                let lists = black_box(&lists);
                each(&lists.0, &Placed { cents })
                    + each(&lists.1, &Paid { cents })
                    + each(&lists.2, &Sent { cents })
                    + each(&lists.3, &Closed { cents })
            })
        })
        .peer("tidings, by handle", || {
            round(emissions, listeners, |cents| {
                let emitters = black_box(&emitters);
                emitters.0.emit(&Placed { cents })
                    + emitters.1.emit(&Paid { cents })
                    + emitters.2.emit(&Sent { cents })
                    + emitters.3.emit(&Closed { cents })
            })
        })
        .goal(at_most(by_handle))
        .goal(at_most(0.67).of("signals2"))
        .peer("tidings, by type", || {
            round(emissions, listeners, |cents| {
                let bus = black_box(&bus);
                bus.emit(&Placed { cents })
                    + bus.emit(&Paid { cents })
                    + bus.emit(&Sent { cents })
                    + bus.emit(&Closed { cents })
            })
        })
        .goal(at_most(by_type))
        .peer("signals2", || {
            round(emissions, listeners, |cents| {
                for signal in black_box(&signals) {
                    signal.emit(cents);
                }
                4 * listeners
            })
        })
        .note("its events are a number by value, ours a structure by reference")
        .run()
}

/// What a listener to envelopes can use without decoding.
fn hops(envelope: &Envelope) -> u64 {
    u64::from(envelope.hops())
}

fn envelopes(hops: u16) -> Result<Vec<Envelope>> {
    let named = |at: usize| Envelope::build(format!("order.kind-{at}.placed")).hops(hops).finish();
    Ok((0..NAMES).map(named).collect::<Result<_, _>>()?)
}

fn by_name(job: &mut Job) -> Result<()> {
    let (envelopes, turns) = (envelopes(3)?, EMISSIONS / NAMES as u64);
    let mut map: HashMap<String, List<Envelope>, ahash::RandomState> = HashMap::default();
    let (exact, wild) = (Bus::new(), Bus::new());
    for (turn, envelope) in envelopes.iter().enumerate() {
        let mut list: List<Envelope> = Vec::new();
        body!(turn, |listener| list.push(boxed(listener)), &Envelope, hops);
        map.insert(envelope.name().to_string(), list);
        body!(
            turn,
            |listener| exact.subscribe(envelope.name(), listener).map(Guard::forever),
            &Envelope,
            hops
        )?;
    }
    body!(0, |listener| wild.subscribe("order.*.placed", listener).map(Guard::forever), &Envelope, hops)?;
    let round = |emit: &mut dyn FnMut(&Envelope) -> usize| {
        let mut heard = 0;
        let nanos = nanos_each(turns, |_| {
            for envelope in black_box(&envelopes) {
                heard += emit(envelope);
            }
        });
        ensure!(heard == turns as usize * NAMES, "{heard} calls of listeners");
        Ok(nanos / NAMES as f64)
    };
    job.table(format!("by name, {NAMES} names in turn, 1 listener"), Unit::time("ns"))
        .reference("ahash map of Vec<Box<dyn Fn>>", || {
            round(&mut |envelope| map.get(&**envelope.name()).map_or(0, |list| each(list, envelope)))
        })
        .peer("tidings, exact patterns", || round(&mut |envelope| exact.emit_envelope(envelope)))
        .peer("tidings, one wildcard", || round(&mut |envelope| wild.emit_envelope(envelope)))
        .run()
}

fn main() -> Result<()> {
    let mut job = Job::new(env!("CARGO_BIN_NAME")).rounds(ROUNDS);
    for listeners in [1, 10, 100] {
        by_type(&mut job, listeners)?;
    }
    by_name(&mut job)
}
