//! What does it cost to tell listeners of an event?
//!
//! Four event types take turns, each with its own list, and the listeners have four different bodies, since one of each
//! would flatter everybody: the processor predicts what never changes. A figure is the time of one emission.
//!
//! Node's emitters are child processes that measure themselves in the same rounds. `--quick` has few rounds: to see that
//! it works.

use std::{
    collections::HashMap,
    hint::{black_box, spin_loop},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bevy_ecs::{observer::On, world::World};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::json;
use signals2::{Connect1, Emit1, Signal};
use tidings_benches::{
    busy::{Busy, hand_off, two_threads},
    child,
    harness::{Job, Table, Unit, at_most, nanos_each},
    node::Node,
};
use tidings_bus::{Bus, Guard};
use tidings_core::{Envelope, Event, EventInfo};
use tokio::sync::broadcast;

/// How many emissions a round has for a list of one; longer lists have fewer. A round is well under a millisecond, so
/// that most of them fall between two interruptions; there are the more of them.
const EMISSIONS: u64 = 100_000;

/// How many rounds there are.
const ROUNDS: usize = 201;

/// How many names take turns where events are emitted by name.
const NAMES: usize = 64;

macro_rules! events {
    ($($event:ident = $name:literal),*) => {$(
        #[derive(Clone, Copy, Serialize, Deserialize, bevy_ecs::event::Event)]
        struct $event {
            cents: u64,
        }

        impl Event for $event {
            const INFO: &'static EventInfo = &EventInfo { name: $name, version: 1, fields: &[] };
        }
    )*};
}

events!(Placed = "order.placed", Paid = "order.paid", Sent = "order.sent", Closed = "order.closed");

type Body<E> = Box<dyn Fn(&E) + Send + Sync>;

type List<E> = Vec<Body<E>>;

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

fn boxed<E>(listener: impl Fn(&E) + Send + Sync + 'static) -> Body<E> {
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

/// What tells of a Bevy event without a lifetime in its name.
trait Trigger: Event + for<'a> bevy_ecs::event::Event<Trigger<'a>: Default> {}

impl<E: Event + for<'a> bevy_ecs::event::Event<Trigger<'a>: Default>> Trigger for E {}

fn observe<E: Trigger>(
    world: &mut World,
    first: usize,
    listeners: usize,
    cents: impl Fn(&E) -> u64 + Copy + Send + Sync + 'static,
) {
    for turn in first..first + listeners {
        let mut add = |listener: Box<dyn Fn(&E) + Send + Sync>| {
            world.add_observer(move |event: On<'_, '_, E>| listener(event.event()));
        };
        body!(turn, |listener| add(boxed(listener)), &E, cents);
    }
    world.flush();
}

/// A channel of which every listener has an end of its own, which it is asked to empty after each event.
struct Channel {
    sender: broadcast::Sender<u64>,
    listeners: Vec<(broadcast::Receiver<u64>, Body<u64>)>,
}

impl Channel {
    fn new(first: usize, listeners: usize) -> Self {
        let (sender, _) = broadcast::channel(16);
        let mut list: List<u64> = Vec::new();
        for turn in first..first + listeners {
            body!(turn, |listener| list.push(boxed(listener)), &u64, |cents: &u64| *cents);
        }
        let listeners = list.into_iter().map(|listener| (sender.subscribe(), listener)).collect();
        Self { sender, listeners }
    }

    fn emit(&mut self, cents: u64) -> usize {
        drop(self.sender.send(cents));
        let mut heard = 0;
        for (receiver, listener) in &mut self.listeners {
            while let Ok(cents) = receiver.try_recv() {
                listener(&cents);
                heard += 1;
            }
        }
        heard
    }
}

/// What Node is asked to have done before anything counts, so that its compiler is through.
const WARM: u64 = 200_000;

/// A peer in Node, with its listeners, warm.
fn node(peer: &str, ask: &str, about: serde_json::Value, emissions: u64) -> Result<Node> {
    let mut node = Node::start(peer)?;
    node.ask(ask, about)?;
    node.ask("emit", json!({"emissions": WARM.min(emissions * 20)}))?;
    Ok(node)
}

/// A round in Node: it emits and measures itself.
fn emitted(mut node: Node, emissions: u64, listeners: usize) -> impl FnMut() -> Result<f64> {
    move || {
        let answer = node.ask("emit", json!({"emissions": emissions}))?;
        let (heard, emitted) = (child::number(&answer, "heard")?, child::number(&answer, "emitted")?);
        ensure!(heard == emitted * listeners as f64, "{heard} calls of listeners for {emitted} events");
        child::number(&answer, "nanos")
    }
}

const NODES: [&str; 4] = ["EventEmitter", "eventemitter2", "eventemitter3", "mitt"];

/// Adds the peers in Node to a table.
fn nodes<'a>(
    mut table: Table<'a>,
    ask: &str,
    about: &serde_json::Value,
    emissions: u64,
    listeners: usize,
) -> Table<'a> {
    for peer in NODES {
        let started = node(peer, ask, about.clone(), emissions);
        table = table.peer_if(peer, started, |node| emitted(node, emissions, listeners));
    }
    table
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
    let mut worlds: [World; 4] = std::array::from_fn(|_| World::new());
    let [one, two, three, four] = &mut worlds;
    observe(one, 0, listeners, |event: &Placed| event.cents);
    observe(two, 1, listeners, |event: &Paid| event.cents);
    observe(three, 2, listeners, |event: &Sent| event.cents);
    observe(four, 3, listeners, |event: &Closed| event.cents);
    let mut channels: [Channel; 4] = std::array::from_fn(|first| Channel::new(first, listeners));
    let (by_handle, by_type) = match listeners {
        1 => (2.1, 5.0),
        10 => (1.2, 1.2),
        _ => (1.1, 1.1),
    };
    let table = job
        .table(format!("{listeners} listeners"), Unit::time("ns"))
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
        .goal(at_most(0.67).of("EventEmitter"))
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
        .peer("bevy_ecs observers", || {
            round(emissions, listeners, |cents| {
                one.trigger(Placed { cents });
                two.trigger(Paid { cents });
                three.trigger(Sent { cents });
                four.trigger(Closed { cents });
                4 * listeners
            })
        })
        .note("needs the world for itself alone, so one thread emits; a panic in a listener ends the emission")
        .peer("tokio broadcast", || {
            round(emissions, listeners, |cents| {
                channels.iter_mut().map(|channel| channel.emit(cents)).sum()
            })
        })
        .note("a queue: each listener has to come for its copy; here it is asked to at once, on the same thread");
    nodes(table, "listen", &json!({"listeners": listeners}), emissions, listeners).run()
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
    let table = job
        .table(format!("by name, {NAMES} names in turn, 1 listener"), Unit::time("ns"))
        .reference("ahash map of Vec<Box<dyn Fn>>", || {
            round(&mut |envelope| map.get(&**envelope.name()).map_or(0, |list| each(list, envelope)))
        })
        .peer("tidings, exact patterns", || round(&mut |envelope| exact.emit_envelope(envelope)))
        .goal(at_most(1.0))
        .goal(at_most(1.0).of("EventEmitter"))
        .peer("tidings, one wildcard", || round(&mut |envelope| wild.emit_envelope(envelope)));
    nodes(table, "name", &json!({"names": NAMES}), EMISSIONS, 1).run()
}

/// Gives `$add` the listener whose turn it is, of four that write nothing: two threads that write to the same place
/// wait for each other, whoever calls them.
macro_rules! reader {
    ($turn:expr, $add:expr, $event:ty) => {
        match $turn % 4 {
            0 => $add(|event: $event| {
                black_box(cents_of(event));
            }),
            1 => $add(|event: $event| {
                black_box(cents_of(event) ^ 5);
            }),
            2 => $add(|event: $event| {
                black_box(cents_of(event).max(7));
            }),
            _ => $add(|event: $event| {
                if cents_of(event) % 2 == 0 {
                    black_box(3);
                }
            }),
        }
    };
}

fn cents_of(placed: &Placed) -> u64 {
    placed.cents
}

/// How many listeners there are where two threads are at work.
const READERS: usize = 4;

fn readers() -> Result<(List<Placed>, Bus, Signal<(u64,)>)> {
    let (bus, signal) = (Bus::new(), Signal::new());
    let mut list: List<Placed> = Vec::new();
    for turn in 0..READERS {
        reader!(turn, |listener| list.push(boxed(listener)), &Placed);
        reader!(turn, |listener| on(&bus, listener), &Placed);
        signal.connect(move |cents| {
            black_box(cents + turn as u64);
        });
    }
    let heard = bus.emit(&Placed { cents: 1 });
    ensure!(heard == READERS, "{heard} calls of listeners");
    Ok((list, bus, signal))
}

fn from_two_threads(job: &mut Job) -> Result<()> {
    let (list, bus, signal) = readers()?;
    let emissions = EMISSIONS / 2;
    let each_of = |nanos: f64| Ok(nanos / emissions as f64);
    job.table(format!("{READERS} listeners, two threads emit"), Unit::time("ns"))
        .reference("Vec<Box<dyn Fn>>", || {
            let emit = |_| (0..emissions).for_each(|cents| {
                black_box(each(&list, &Placed { cents }));
            });
            each_of(two_threads(|_| (), emit))
        })
        .note("the time until the slower thread was done, for each of its emissions; each has a processor of its own")
        .peer("tidings, by handle", || {
            let emit = |emitter: tidings_bus::Emitter<Placed>| {
                (0..emissions).for_each(|cents| {
                    black_box(emitter.emit(&Placed { cents }));
                });
            };
            each_of(two_threads(|_| bus.emitter::<Placed>(), emit))
        })
        .goal(at_most(2.1))
        .peer("tidings, by type", || {
            let emit = |_| {
                (0..emissions).for_each(|cents| {
                    black_box(bus.emit(&Placed { cents }));
                });
            };
            each_of(two_threads(|_| (), emit))
        })
        .peer("tidings, by type, one thread", || {
            Ok(nanos_each(emissions, |cents| {
                black_box(bus.emit(&Placed { cents }));
            }))
        })
        .note("alone, to compare")
        .peer("signals2", || {
            let emit = |_| {
                (0..emissions).for_each(|cents| {
                    black_box(signal.emit(cents));
                });
            };
            each_of(two_threads(|_| (), emit))
        })
        .peer("hand-off probe", || Ok(hand_off()))
        .note("what it takes to hand a number to the other thread; no peer, but the state of the machine in each round")
        .run()
}

/// What comes and goes does so this often.
const PAUSE: Duration = Duration::from_micros(5);

fn beside_changes(job: &mut Job) -> Result<()> {
    let (list, bus, signal) = readers()?;
    let locked = Arc::new(RwLock::new(list));
    let emissions = EMISSIONS;
    let emitter = bus.emitter::<Placed>();
    let changing = |change: Box<dyn Fn() + Send>| {
        Busy::start(move || {
            change();
            let begun = Instant::now();
            while begun.elapsed() < PAUSE {
                spin_loop();
            }
        })
    };
    let (own, other, theirs) = (bus.clone(), signal.clone(), locked.clone());
    let ours = move || {
        let bus = own.clone();
        changing(Box::new(move || bus.on(|placed: &Placed| ignore(placed)).end()))
    };
    let of_signal = move || {
        let signal = other.clone();
        changing(Box::new(move || signal.connect(|cents| ignore(&Placed { cents })).disconnect()))
    };
    let of_list = move || {
        let list = theirs.clone();
        changing(Box::new(move || {
            list.write().push(boxed(ignore));
            list.write().pop();
        }))
    };
    let beside = |start: &dyn Fn() -> Busy, emit: Box<dyn Fn(u64) -> usize + '_>| {
        let busy = start();
        for _ in 0..100 {
            let before = busy.turns();
            let nanos = nanos_each(emissions, |cents| {
                black_box(emit(cents));
            });
            // Where the other thread had no turn meanwhile, this was not beside anything: once more.
            if busy.turns() > before {
                return Ok(nanos);
            }
        }
        anyhow::bail!("nothing came or went")
    };
    job.table(format!("{READERS} listeners, while another comes and goes every 5 µs"), Unit::time("ns"))
        .reference("tidings, by handle, nobody changes", || {
            Ok(nanos_each(emissions, |cents| {
                black_box(emitter.emit(&Placed { cents }));
            }))
        })
        .peer("tidings, by handle", || beside(&ours, Box::new(|cents| emitter.emit(&Placed { cents }))))
        .peer("tidings, by type", || beside(&ours, Box::new(|cents| bus.emit(&Placed { cents }))))
        .peer("Vec in a read-write lock", || {
            beside(&of_list, Box::new(|cents| each(&locked.read(), &Placed { cents })))
        })
        .note("a listener that subscribes another would wait for ever")
        .peer("signals2", || beside(&of_signal, Box::new(|cents| signal.emit(cents).map_or(0, |()| READERS))))
        .run()
}

fn ignore(placed: &Placed) {
    black_box(placed.cents);
}

fn main() -> Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let mut job = Job::new(env!("CARGO_BIN_NAME")).rounds(if quick { ROUNDS / 20 } else { ROUNDS });
    for listeners in [1, 10, 100] {
        by_type(&mut job, listeners)?;
    }
    by_name(&mut job)?;
    // Two threads have to be found idle together, which takes longer rounds, and so fewer of them.
    let mut fewer = job.rounds(if quick { 5 } else { 41 });
    from_two_threads(&mut fewer)?;
    beside_changes(&mut fewer)
}
