//! What does it cost to find who listens to a name, among up to a million patterns?
//!
//! Every peer gets the same patterns and the same names, and is timed only after it has found as many listeners for
//! them as the others. Bytes are what a process of its own grew by, since nothing counts where something is timed.
//!
//! `--quick` has few rounds and stops at 100,000 patterns: to see that it works.

use std::{
    collections::VecDeque,
    fs,
    hint::black_box,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use mqtt_topic_engine::{CacheStrategy, QoS, TopicPath, TopicPatternPath, TopicRouter};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidings_benches::{
    busy::Busy,
    child,
    harness::{Goal, Job, Unit, at_most},
    node::Node,
    sublist::Sublist,
    topics::{self, Topics},
};
use tidings_bus::{Bus, Guard};
use tidings_core::{Envelope, Event, EventInfo};

/// How many names are asked for, in turn. Far more than any cache here holds.
const SUBJECTS: usize = 50_000;

/// How many names are hot.
const HOT: usize = 512;

/// How many of them a round asks for. It goes on where the last one stopped.
const ASKED: usize = 4_000;

const ROUNDS: usize = 31;
const ROUNDS_QUICK: usize = 5;

const TRIE: &str = "trie as in NATS, in Rust";
const MQTT: &str = "mqtt-topic-engine";
const MATCH: &str = "tidings, match";
const EMIT: &str = "tidings, emit";

struct Names {
    texts: Vec<String>,
    envelopes: Vec<Envelope>,
    paths: Vec<TopicPath>,
}

impl Names {
    fn of(topics: &[String]) -> Result<Self> {
        let path = |text: &String| Ok(TopicPath::new(text.replace('.', "/"))?);
        let envelope = |text: &String| Ok(Envelope::build(text.as_str()).finish()?);
        Ok(Self {
            texts: topics.to_vec(),
            envelopes: topics.iter().map(envelope).collect::<Result<_>>()?,
            paths: topics.iter().map(path).collect::<Result<_>>()?,
        })
    }
}

/// A bus with a listener to each pattern.
fn bus(patterns: &[String]) -> Result<Bus> {
    let (bus, heard) = (Bus::new(), Arc::new(AtomicU64::new(0)));
    for pattern in patterns {
        listen(&bus, pattern, &heard)?.forever();
    }
    Ok(bus)
}

fn listen(bus: &Bus, pattern: &str, heard: &Arc<AtomicU64>) -> Result<Guard> {
    let heard = heard.clone();
    // Not one atomic addition, which would cost as much as what is measured.
    let count = move |_: &Envelope| heard.store(heard.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    Ok(bus.subscribe(pattern, count)?)
}

fn sublist(patterns: &[String]) -> Sublist {
    let mut sublist = Sublist::default();
    for (number, pattern) in (0..).zip(patterns) {
        sublist.insert(pattern, number);
    }
    sublist
}

fn mqtt(patterns: &[String]) -> Result<TopicRouter<u32>> {
    let mut router = TopicRouter::new();
    for (number, pattern) in (0..).zip(patterns) {
        let text = pattern.replace("**", "#").replace('*', "+").replace('.', "/");
        let path = TopicPatternPath::new_from_string(text, CacheStrategy::NoCache)?;
        router.add_subscription(path, QoS::AtMostOnce, number);
    }
    Ok(router)
}

/// Subscribes all patterns in Node and checks that it finds as many listeners as we do.
fn node(peer: &str, folder: &tempfile::TempDir, topics: &Topics, expected: usize) -> Result<Node> {
    let (patterns, names) = (folder.path().join("patterns"), folder.path().join("topics"));
    fs::write(&patterns, topics.patterns.join("\n"))?;
    fs::write(&names, topics.topics.join("\n"))?;
    let mut node = Node::start(peer)?;
    let loaded = node.ask("load", json!({"patterns": patterns, "topics": names}))?;
    let found = child::number(&loaded, "found")?;
    ensure!(found == expected as f64, "it finds {found} listeners, the others {expected}");
    Ok(node)
}

/// The names in turn, for ever; a round goes on where the last one stopped.
struct Turn<'a, T> {
    all: &'a [T],
    at: usize,
}

impl<'a, T> Turn<'a, T> {
    fn of(all: &'a [T]) -> Self {
        Self { all, at: 0 }
    }

    /// Asks for so many; answers the nanoseconds each took. There must be at least one listener for each.
    fn round(&mut self, asked: usize, mut find: impl FnMut(&T) -> usize) -> Result<f64> {
        let mut found = 0;
        let begun = Instant::now();
        for _ in 0..asked {
            let Some(name) = self.all.get(self.at) else { bail!("there are no names") };
            found += find(black_box(name));
            self.at = if self.at + 1 == self.all.len() { 0 } else { self.at + 1 };
        }
        let nanos = begun.elapsed().as_nanos() as f64 / asked as f64;
        ensure!(found >= asked, "{found} listeners found for {asked} names");
        Ok(nanos)
    }
}

fn matched(mut node: Node, asked: usize, among: usize) -> impl FnMut() -> Result<f64> {
    move || {
        let answer = node.ask("match", json!({"count": asked, "among": among}))?;
        ensure!(child::number(&answer, "found")? >= asked as f64, "too few listeners found: {answer}");
        child::number(&answer, "nanos")
    }
}

/// Every peer must find the same listeners before it is timed.
fn verify(peer: &str, names: &Names, expected: &[usize], mut find: impl FnMut(usize) -> usize) -> Result<()> {
    for ((at, topic), expected) in names.texts.iter().enumerate().zip(expected) {
        let found = find(at);
        ensure!(found == *expected, "{peer} finds {found} listeners for {topic}, not {expected}");
    }
    Ok(())
}

struct Rust {
    names: Names,
    bus: Bus,
    sublist: Sublist,
    mqtt: TopicRouter<u32>,
    expected: Vec<usize>,
}

impl Rust {
    fn of(topics: &Topics) -> Result<Self> {
        let mut built = Self {
            names: Names::of(&topics.topics)?,
            bus: bus(&topics.patterns)?,
            sublist: sublist(&topics.patterns),
            mqtt: mqtt(&topics.patterns)?,
            expected: Vec::new(),
        };
        let Self { names, bus, sublist, mqtt, .. } = &mut built;
        let expected: Vec<usize> = names.texts.iter().map(|topic| sublist.matching(topic).len()).collect();
        let counted = |at: usize| names.texts.get(at).map_or(0, |name| bus.listener_count(name));
        verify(MATCH, names, &expected, counted)?;
        verify(EMIT, names, &expected, |at| names.envelopes.get(at).map_or(0, |any| bus.emit_envelope(any)))?;
        verify(MQTT, names, &expected, |at| {
            names.paths.get(at).map_or(0, |path| mqtt.get_subscribers(path).len())
        })?;
        built.expected = expected;
        Ok(built)
    }
}

fn distinct(job: &mut Job, topics: &Topics) -> Result<()> {
    let (folder, patterns) = (tempfile::tempdir()?, topics.patterns.len());
    let mut rust = Rust::of(topics)?;
    let expected: usize = rust.expected.iter().sum();
    let [mut first, mut second, mut third] = std::array::from_fn(|_| Turn::of(&rust.names.texts));
    let mut envelopes = Turn::of(&rust.names.envelopes);
    let mut paths = Turn::of(&rust.names.paths);
    let subject = format!("{patterns} patterns, every name another ({} names)", topics.topics.len());
    let few = expected as f64 / topics.topics.len() as f64;
    let mut table = job
        .table(subject, Unit::time("ns"))
        .reference(TRIE, || first.round(ASKED, |topic| rust.sublist.matching(topic).len()))
        .note(format!("{few:.2} listeners a name; asked without its cache; its listeners are numbers"))
        .peer(MATCH, || second.round(ASKED, |topic| rust.bus.listener_count(topic)))
        .note("takes the bus's lock, finds, compares and counts");
    for goal in uncached(patterns) {
        table = table.goal(goal);
    }
    table
        .peer(EMIT, || envelopes.round(ASKED, |any| rust.bus.emit_envelope(any)))
        .note("finds as above, then makes a plan, keeps it, and calls the listeners")
        .peer(MQTT, || paths.round(ASKED, |path| rust.mqtt.get_subscribers(path).len()))
        .note("its names are split beforehand; `#` only at the end")
        .peer_if("eventemitter2", node("eventemitter2", &folder, topics, expected), |node| {
            matched(node, ASKED, usize::MAX)
        })
        .note("Node; emits to its wildcards, so that listeners are called")
        .peer_if("qlobber", node("qlobber", &folder, topics, expected), |node| {
            matched(node, ASKED, usize::MAX)
        })
        .note("Node; answers an array of numbers")
        .run()?;
    let (names, envelopes) =
        (rust.names.texts.get(..HOT.min(topics.topics.len())), rust.names.envelopes.get(..HOT));
    let (Some(names), Some(envelopes)) = (names, envelopes) else { return Ok(()) };
    let sublist = &mut rust.sublist;
    let mut envelopes = Turn::of(envelopes);
    let mut first = Turn::of(names);
    job.table(format!("{patterns} patterns, {HOT} names in turn"), Unit::time("ns"))
        .reference("trie as in NATS, cached", || first.round(ASKED * 5, |topic| sublist.cached(topic).len()))
        .note("one thread and no lock; finds and calls nobody")
        .peer(EMIT, || envelopes.round(ASKED * 5, |any| rust.bus.emit_envelope(any)))
        .note("finds and calls")
        .goal(at_most(1.0))
        .goal(at_most(16.0).absolute())
        .peer("tidings, match (no cache)", || third.round(ASKED, |topic| rust.bus.listener_count(topic)))
        .run()
}

/// The goals of a match by the number of patterns.
fn uncached(patterns: usize) -> Vec<Goal> {
    match patterns {
        100_000 => vec![at_most(0.2), at_most(0.67).of(MQTT)],
        1_000_000 => vec![at_most(0.33), at_most(0.67).of(MQTT)],
        _ => vec![at_most(1.0)],
    }
}

/// What the process has in memory.
fn resident() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/statm").context("only where there is /proc")?;
    let pages: f64 = text.split(' ').nth(1).context("no second field")?.parse()?;
    Ok(pages * 4096.0)
}

/// As a child: builds one peer and answers how much the process grew, for each pattern.
fn grown(peer: &str, patterns: usize) -> Result<Value> {
    let texts = match peer {
        "many shapes" => topics::of_many_shapes(patterns, 1).patterns,
        "one shape" => topics::of_one_shape(patterns, 1).patterns,
        _ => topics::plain(patterns, 1).patterns,
    };
    let one = vec![String::from("region-1.kind-1.o1.verb-1"); patterns];
    let before = resident()?;
    let (mut kept_bus, mut kept_sublist, mut kept_mqtt) = (None, None, None);
    match peer {
        TRIE => kept_sublist = Some(sublist(&texts)),
        MQTT => kept_mqtt = Some(mqtt(&texts)?),
        "one pattern" => kept_bus = Some(bus(&one)?),
        _ => kept_bus = Some(bus(&texts)?),
    }
    let bytes = (resident()? - before) / patterns as f64;
    drop(black_box((kept_bus, kept_sublist, kept_mqtt, texts, one)));
    Ok(json!({ "bytes": bytes }))
}

fn bytes_of(peer: &'static str, patterns: usize) -> impl Fn() -> Result<f64> {
    move || {
        let own = std::env::current_exe()?;
        let (answer, _) = child::answer(Command::new(own).args(["--grow", peer, &patterns.to_string()]))?;
        child::number(&answer, "bytes")
    }
}

fn bytes(job: &mut Job, topics: &Topics) -> Result<()> {
    let patterns = topics.patterns.len();
    let folder = tempfile::tempdir()?;
    let heap = |peer: &'static str| {
        let (names, texts) = (folder.path().join("topics"), folder.path().join("patterns"));
        fs::write(&texts, topics.patterns.join("\n"))?;
        fs::write(&names, "")?;
        let mut node = Node::start(peer)?;
        let loaded = node.ask("load", json!({"patterns": texts, "topics": names}))?;
        child::number(&loaded, "bytes")
    };
    let whole = bytes_of("tidings", patterns);
    let same = bytes_of("one pattern", patterns);
    job.table(format!("{patterns} patterns, memory of each"), Unit::size("B"))
        .reference(TRIE, bytes_of(TRIE, patterns))
        .note("resident memory of a process of its own; its listeners are numbers of 4 bytes")
        .peer("tidings, with listeners", whole)
        .note("a whole subscription: a boxed function, who it is, where it was registered, and the index")
        .peer("tidings, index", move || Ok(bytes_of("tidings", patterns)()? - same()?))
        .note(
            "a listener with a pattern of its own less one more listener to a pattern that is there: the pattern's \
             text and its place in the index, less an entry in a sorted list",
        )
        .goal(at_most(100.0).absolute())
        .peer(MQTT, bytes_of(MQTT, patterns))
        .peer_if("eventemitter2", heap("eventemitter2"), |bytes| move || Ok(bytes))
        .note("Node's heap after a collection; measured once; with a function each")
        .peer_if("qlobber", heap("qlobber"), |bytes| move || Ok(bytes))
        .note("Node's heap after a collection; measured once; its listeners are numbers")
        .run()
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Placed {
    cents: u64,
}

impl Event for Placed {
    const INFO: &'static EventInfo = &EventInfo { name: "shop.placed", version: 1, fields: &[] };
}

/// How many additions and removals a round has.
const CHANGES: usize = 2_000;

/// Between two changes, so that the other thread has time to fill what a change has emptied.
const PAUSE: Duration = Duration::from_micros(20);

/// Times of one kind of change, in microseconds.
#[derive(Default)]
struct Times {
    add: Vec<f64>,
    remove: Vec<f64>,
}

impl Times {
    /// Adds and removes in turn; up to a thousand stay at a time, so that what is removed is no longer warm.
    fn take<G>(mut add: impl FnMut(usize) -> Result<G>, mut remove: impl FnMut(G)) -> Result<Self> {
        let (mut times, mut kept) = (Self::default(), VecDeque::new());
        let pause = || {
            let begun = Instant::now();
            while begun.elapsed() < PAUSE {
                std::hint::spin_loop();
            }
        };
        for turn in 0..CHANGES {
            pause();
            let begun = Instant::now();
            kept.push_back(add(turn)?);
            times.add.push(begun.elapsed().as_nanos() as f64 / 1e3);
            if kept.len() > CHANGES / 2
                && let Some(guard) = kept.pop_front()
            {
                pause();
                let begun = Instant::now();
                remove(guard);
                times.remove.push(begun.elapsed().as_nanos() as f64 / 1e3);
            }
        }
        kept.into_iter().for_each(&mut remove);
        Ok(times)
    }
}

/// One part of a series: 0.5 for the median.
fn part(figures: &[f64], part: f64) -> Result<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().context("there are no figures")
}

fn churn(job: &mut Job, topics: &Topics) -> Result<()> {
    let (patterns, limit) = (topics.patterns.len(), 5.0);
    let (bus, heard) = (bus(&topics.patterns)?, Arc::new(AtomicU64::new(0)));
    bus.on(|placed: &Placed| {
        black_box(placed.cents);
    })
    .forever();
    let names = Names::of(topics.topics.get(..4_096).unwrap_or(&topics.topics))?;
    let (emitter, other, mut at) = (bus.emitter::<Placed>(), bus.clone(), 0_usize);
    let rooms = names.envelopes.len();
    let ours = Busy::start(move || {
        at += 1;
        let (hot, any) = (names.envelopes.get(at % HOT), names.texts.get(at % rooms));
        emitter.emit(&Placed { cents: at as u64 })
            + hot.map_or(0, |hot| other.emit_envelope(hot))
            + any.map_or(0, |any| other.listener_count(any))
    });
    let literal = |turn: usize| format!("region-1.kind-1.new-{turn}.verb-1");
    let wild = |turn: usize| format!("region-1.*.new-{turn}.verb-1");
    let timed = |text: &dyn Fn(usize) -> String| {
        let texts: Vec<String> = (0..CHANGES).map(text).collect();
        let text = |turn: usize| texts.get(turn).map_or("", String::as_str);
        Times::take(|turn| listen(&bus, text(turn), &heard), Guard::end)
    };
    let subject = format!("{patterns} patterns, a change while another thread emits and matches");
    let mut table = job.table(subject, Unit::time("µs"));
    for (kind, text) in [("literal", &literal as &dyn Fn(usize) -> String), ("wild", &wild)] {
        for (of, name) in [(0.5, "p50"), (0.99, "p99"), (1.0, "max")] {
            let add = move || part(&timed(text)?.add, of);
            table = table.peer(format!("tidings, add, {kind}, {name}"), add);
            table = if of < 1.0 { table.goal(at_most(limit).absolute()) } else { table.note(HOLE) };
            let remove = move || part(&timed(text)?.remove, of);
            table = table.peer(format!("tidings, remove, {kind}, {name}"), remove);
            table = if of < 1.0 { table.goal(at_most(limit).absolute()) } else { table.note(HOLE) };
        }
    }
    table.run()?;
    drop(ours);
    drop(bus);
    growth(job, topics)?;
    let sublist = Arc::new(RwLock::new(sublist(&topics.patterns)));
    let (other, texts) = (sublist.clone(), topics.topics.clone());
    let mut at = 0_usize;
    let theirs = Busy::start(move || {
        at += 1;
        texts.get(at % texts.len()).map_or(0, |topic| other.read().matching(topic).len())
    });
    let timed = || {
        let texts: Vec<String> = (0..CHANGES).map(wild).collect();
        let text = |turn: usize| texts.get(turn).map_or("", String::as_str);
        let add = |turn: usize| {
            sublist.write().insert(text(turn), 7);
            Ok(turn)
        };
        Times::take(add, |turn| sublist.write().remove(text(turn), 7))
    };
    job.table(format!("{patterns} patterns, a change of a peer, wild"), Unit::time("µs"))
        .peer("trie in a read-write lock, add, p50", || part(&timed()?.add, 0.5))
        .note("nothing is cached and nobody emits: the other thread only matches")
        .peer("trie in a read-write lock, add, p99", || part(&timed()?.add, 0.99))
        .peer("trie in a read-write lock, remove, p50", || part(&timed()?.remove, 0.5))
        .peer("trie in a read-write lock, remove, p99", || part(&timed()?.remove, 0.99))
        .run()?;
    drop(theirs);
    Ok(())
}

const HOLE: &str = "the machine's scheduling is in it: see the table of holes";

/// The longest that anything took while an index grew from nothing: a table that moves at once shows here.
fn growth(job: &mut Job, topics: &Topics) -> Result<()> {
    let patterns = topics.patterns.len();
    let slowest = |of: f64| {
        let (bus, heard) = (Bus::new(), Arc::new(AtomicU64::new(0)));
        let mut times = Vec::with_capacity(patterns);
        for pattern in &topics.patterns {
            let begun = Instant::now();
            listen(&bus, pattern, &heard)?.forever();
            times.push(begun.elapsed().as_nanos() as f64 / 1e3);
        }
        part(&times, of)
    };
    let holes = |of: f64| {
        let (mut times, mut last) = (Vec::with_capacity(patterns), Instant::now());
        for _ in 0..patterns * 10 {
            let now = Instant::now();
            times.push((now - last).as_nanos() as f64 / 1e3);
            last = now;
        }
        part(&times, of)
    };
    let mut few = job.clone().rounds(3);
    few.table(format!("holes while {patterns} patterns are added to an empty bus"), Unit::time("µs"))
        .peer("nothing but asking the time, max", move || holes(1.0))
        .note("the longest that the machine did not run us")
        .peer("tidings, add, p99", move || slowest(0.99))
        .goal(at_most(5.0).absolute())
        .peer("tidings, add, p99.99", move || slowest(0.9999))
        .peer("tidings, add, max", move || slowest(1.0))
        .run()
}

fn adversary(job: &mut Job, patterns: usize) -> Result<()> {
    let (many, one) = (topics::of_many_shapes(patterns, 5_000), topics::of_one_shape(patterns, 5_000));
    let (hard, easy) = (Rust::of(&many)?, Rust::of(&one)?);
    let [mut first, mut second, mut third] = [&hard, &hard, &easy].map(|rust| Turn::of(&rust.names.texts));
    let mut fourth = Turn::of(&hard.names.paths);
    let asked = ASKED / 10;
    job.table(format!("{patterns} patterns of as many shapes"), Unit::time("ns"))
        .reference("tidings, one shape", || third.round(asked, |topic| easy.bus.listener_count(topic)))
        .note("as many patterns, as long, all with their wildcards in the same places")
        .peer("tidings, many shapes", || first.round(asked, |topic| hard.bus.listener_count(topic)))
        .note("17 segments, the first of all the same, wildcards in any of the others, no two patterns alike")
        .goal(at_most(20.0))
        .goal(at_most(1.0).of("trie, many shapes"))
        .peer("trie, many shapes", || second.round(asked, |topic| hard.sublist.matching(topic).len()))
        .peer("mqtt-topic-engine, many shapes", || {
            fourth.round(asked, |path| hard.mqtt.get_subscribers(path).len())
        })
        .run()?;
    let mut few = job.clone().rounds(3);
    few.table(format!("{patterns} patterns of as many shapes, memory of each"), Unit::size("B"))
        .reference("tidings, one shape", bytes_of("one shape", patterns))
        .peer("tidings, many shapes", bytes_of("many shapes", patterns))
        .goal(at_most(1.5))
        .run()
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [grow, peer, patterns] = arguments.as_slice()
        && grow == "--grow"
    {
        println!("{}", grown(peer, patterns.parse()?)?);
        return Ok(());
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let sizes: &[usize] = if quick { &[10, 1_000, 100_000] } else { &[10, 1_000, 100_000, 1_000_000] };
    let mut job = Job::new(env!("CARGO_BIN_NAME")).rounds(if quick { ROUNDS_QUICK } else { ROUNDS });
    for size in sizes {
        let topics = topics::plain(*size, SUBJECTS);
        distinct(&mut job, &topics)?;
        if *size >= 100_000 {
            bytes(&mut job.clone().rounds(3), &topics)?;
        }
    }
    let most = sizes.last().copied().unwrap_or(10);
    churn(&mut job.clone().rounds(if quick { 3 } else { 9 }), &topics::plain(most, SUBJECTS))?;
    adversary(&mut job, 50_000)
}
