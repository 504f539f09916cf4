//! What the log says, worked out from its events alone.
//!
//! This shares no code with the modules: it reads payloads as plain JSON and does its own sums, so that a fault in a
//! module cannot hide in it.

use std::{
    collections::{BTreeMap, HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    time::Duration,
};

use serde::Deserialize;
use tidings::{Position, Timestamp, store::Recorded};

/// Everything an event of the shop may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Facts {
    order: u64,
    orders: u64,
    item: String,
    quantity: u64,
    customer: u64,
    cents: u64,
    reason: String,
    line: Option<Line>,
}

/// What an order is about.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Line {
    pub item: String,
    pub quantity: u64,
    pub price_cents: u64,
}

/// What happened to the goods of one kind.
#[derive(Debug, Clone, Default)]
pub struct Goods {
    pub received: u64,
    pub reserved: u64,
    pub released: u64,
    pub parcels: u64,
    pub shipped: u64,
}

/// What happened to the money.
#[derive(Debug, Clone, Default)]
pub struct Money {
    pub charged: u64,
    pub charged_cents: u64,
    pub declined: u64,
}

/// What happened to one order.
#[derive(Debug, Clone, Default)]
pub struct Order {
    pub customer: u64,
    pub line: Line,
    pub charged_cents: u64,
    pub reason: String,
    root: String,
    placed: Option<Timestamp>,
    steps: Vec<Step>,
}

/// What can happen to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Placed,
    Reserved,
    RanShort,
    Released,
    Charged,
    Declined,
    Shipped,
    Completed,
    Cancelled,
}

/// The ways an order may go, and how they are called.
const WAYS: [(&str, &[Step]); 3] = [
    ("shipped", &[Step::Placed, Step::Reserved, Step::Charged, Step::Shipped, Step::Completed]),
    ("payment_failed", &[Step::Placed, Step::Reserved, Step::Declined, Step::Released, Step::Cancelled]),
    ("out_of_stock", &[Step::Placed, Step::RanShort, Step::Cancelled]),
];

impl Order {
    /// How it ended, if it went one of the ways there are.
    pub fn outcome(&self) -> Option<&'static str> {
        let (name, _) = WAYS.iter().find(|(_, way)| *way == self.steps)?;
        (*name == "shipped" || *name == self.reason).then_some(name)
    }

    /// What happened to it, for people.
    pub fn story(&self) -> String {
        let steps: Vec<String> = self.steps.iter().map(|step| format!("{step:?}").to_lowercase()).collect();
        if steps.is_empty() { "nothing".into() } else { steps.join(", ") }
    }
}

/// What the log says.
#[derive(Default)]
pub struct Ledger {
    /// How many orders there are to be.
    pub wanted: u64,
    pub events: u64,
    /// Events that nobody's handler published: each was a commit of its own.
    pub roots: u64,
    pub orders: BTreeMap<u64, Order>,
    pub goods: BTreeMap<String, Goods>,
    pub money: Money,
    pub latencies: Vec<Duration>,
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    /// Faults of single events.
    pub log_faults: Vec<String>,
    /// Faults in how events follow from each other.
    pub chain_faults: Vec<String>,
    position: Position,
    /// The order of every event, by a hash of its id.
    ids: HashMap<u64, u64>,
}

impl Ledger {
    /// Takes the next event of the log in.
    pub fn take(&mut self, event: &Recorded) {
        let (at, name) = (event.position, &**event.envelope.name());
        if at <= self.position {
            self.log_faults.push(format!("position {at} comes after {}", self.position));
        }
        (self.position, self.last) = (at, Some(event.recorded));
        self.events += 1;
        let payload = event.envelope.payload().ok();
        let Some(facts) = payload.and_then(|bytes| serde_json::from_slice::<Facts>(bytes).ok()) else {
            return self.log_faults.push(format!("position {at}: {name} cannot be read"));
        };
        self.identify(event, facts.order);
        let step = match name {
            "shop.opened" => {
                self.wanted = facts.orders;
                return;
            }
            "stock.received" => {
                self.goods.entry(facts.item).or_default().received += facts.quantity;
                return;
            }
            "order.placed" => Step::Placed,
            "stock.reserved" => Step::Reserved,
            "stock.ran_short" => Step::RanShort,
            "stock.released" => Step::Released,
            "payment.charged" => Step::Charged,
            "payment.declined" => Step::Declined,
            "parcel.shipped" => Step::Shipped,
            "order.completed" => Step::Completed,
            "order.cancelled" => Step::Cancelled,
            _ => return self.log_faults.push(format!("position {at}: {name} is no event of the shop")),
        };
        self.add_up(step, &facts);
        self.follow(event, step, facts);
    }

    /// Stock and money.
    fn add_up(&mut self, step: Step, facts: &Facts) {
        match step {
            Step::Charged => {
                self.money.charged += 1;
                self.money.charged_cents += facts.cents;
            }
            Step::Declined => self.money.declined += 1,
            Step::Reserved | Step::Released | Step::Shipped => {
                let Some(line) = &facts.line else { return };
                let goods = self.goods.entry(line.item.clone()).or_default();
                match step {
                    Step::Reserved => goods.reserved += line.quantity,
                    Step::Released => goods.released += line.quantity,
                    _ => {
                        goods.parcels += 1;
                        goods.shipped += line.quantity;
                    }
                }
            }
            _ => {}
        }
    }

    /// Every id is there once, and what caused an event came before it and was about the same order.
    fn identify(&mut self, event: &Recorded, order: u64) {
        let (at, envelope) = (event.position, &event.envelope);
        if self.ids.insert(hash(envelope.source(), envelope.id()), order).is_some() {
            self.log_faults.push(format!("position {at}: id {} is there twice", envelope.id()));
        }
        let Some(cause) = envelope.causation() else {
            self.roots += 1;
            return;
        };
        match self.ids.get(&hash(envelope.source(), cause)) {
            Some(other) if *other == order => {}
            Some(other) => self.chain_faults.push(format!(
                "position {at}: {} of order {order} was caused by an event of order {other}",
                envelope.name()
            )),
            None => self.chain_faults.push(format!(
                "position {at}: {} of order {order} was caused by {cause}, which did not come before it",
                envelope.name()
            )),
        }
    }

    /// The order goes a step further.
    fn follow(&mut self, event: &Recorded, step: Step, facts: Facts) {
        let (at, envelope) = (event.position, &event.envelope);
        let order = self.orders.entry(facts.order).or_default();
        order.steps.push(step);
        if step == Step::Placed {
            order.root = envelope.id().to_string();
            (order.customer, order.placed) = (facts.customer, Some(event.recorded));
            order.line = facts.line.unwrap_or_default();
            self.first = self.first.or(Some(event.recorded));
            if envelope.causation().is_some() {
                self.chain_faults.push(format!("position {at}: an order was placed by a handler"));
            }
            return;
        }
        if envelope.correlation().is_none_or(|root| **root != *order.root) {
            let name = envelope.name();
            self.chain_faults.push(format!(
                "position {at}: {name} does not belong to the chain of order {}, which began with {:?}",
                facts.order, order.root
            ));
        }
        if facts.line.is_some_and(|line| line != order.line) {
            let name = envelope.name();
            self.chain_faults.push(format!(
                "position {at}: {name} of order {} is about other goods than were ordered",
                facts.order
            ));
        }
        match step {
            Step::Charged => order.charged_cents += facts.cents,
            Step::Cancelled => order.reason = facts.reason,
            _ => {}
        }
        if matches!(step, Step::Completed | Step::Cancelled)
            && let Some(placed) = order.placed
        {
            self.latencies.push(event.recorded.since(placed));
        }
    }
}

fn hash(source: &str, id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (source, id).hash(&mut hasher);
    hasher.finish()
}
