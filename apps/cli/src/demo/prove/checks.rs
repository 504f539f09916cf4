//! The checks: each compares what the log says with itself, with the views, or with what is left to do.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};
use tidings::{
    Position,
    durable::DEAD_PREFIX,
    store::{AnyStore, DocumentQuery, Recorded, StoreStats},
};

use super::{Check, Progress, ledger::Ledger};
use crate::{demo::figures::money as euros, output::number::count};

/// Which subscription has to have handled what.
const HEARS: [(&str, &[&str]); 4] = [
    ("inventory", &["stock.received", "order.placed", "payment.declined"]),
    ("orders", &["order.placed", "stock.ran_short", "stock.released", "parcel.shipped"]),
    ("payments", &["stock.reserved"]),
    ("shipping", &["payment.charged"]),
];

/// Where rows of keys that wait are kept, by subscription.
const BLOCKED_PREFIX: &str = "$blocked/";

/// What the views say.
pub struct Views(BTreeMap<&'static str, BTreeMap<String, Value>>);

impl Views {
    /// All documents of all four.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn read(store: &AnyStore) -> Result<Self> {
        let mut views = BTreeMap::new();
        for name in ["orders", "shelves", "parcels", "till"] {
            let mut documents = BTreeMap::new();
            let mut query = DocumentQuery::all(name);
            loop {
                let page = store.documents(&query).await?;
                let full = page.len() == query.limit;
                query.after = page.last().map(|document| document.key.id.clone());
                for document in page {
                    let value = serde_json::from_slice(&document.value).unwrap_or(Value::Null);
                    documents.insert(document.key.id.to_string(), value);
                }
                if !full {
                    break;
                }
            }
            views.insert(name, documents);
        }
        Ok(Self(views))
    }

    /// Where a view is not what the log says it has to be.
    fn differ(&self, view: &str, should: BTreeMap<String, Value>) -> Vec<String> {
        let none = BTreeMap::new();
        let is = self.0.get(view).unwrap_or(&none);
        let mut faults = Vec::new();
        for (id, should) in &should {
            match is.get(id) {
                Some(is) if is == should => {}
                Some(is) => faults.push(format!("view {view}, {id}: the log says {should}, the view {is}")),
                None => faults.push(format!("view {view}, {id}: the log says {should}, the view nothing")),
            }
        }
        let extra = is.iter().filter(|(id, _)| !should.contains_key(*id));
        faults.extend(extra.map(|(id, is)| format!("view {view}, {id}: the log knows nothing of {is}")));
        faults
    }
}

/// The log itself.
pub fn log(ledger: &Ledger) -> Check {
    let says = format!("{} events, each there once, all of the shop", count(ledger.events));
    Check::new("log", says, ledger.log_faults.clone())
}

/// Orders placed and ended.
pub fn orders(ledger: &Ledger, views: &Views) -> Check {
    let mut faults = Vec::new();
    let missing: Vec<u64> = (1..=ledger.wanted).filter(|order| !ledger.orders.contains_key(order)).collect();
    faults.extend(missing.iter().map(|order| format!("order {order} was never placed")));
    for (number, order) in &ledger.orders {
        if !(1..=ledger.wanted).contains(number) {
            faults.push(format!("order {number} is not one of {}", ledger.wanted));
        } else if order.outcome().is_none() {
            faults.push(format!("order {number} did not end as an order can: {}", order.story()));
        }
    }
    let should = ledger.orders.iter().map(|(number, order)| {
        let line = &order.line;
        let line = json!({ "item": line.item, "quantity": line.quantity, "price_cents": line.price_cents });
        let status = order.outcome().unwrap_or("open");
        (number.to_string(), json!({ "status": status, "customer": order.customer, "line": line }))
    });
    faults.extend(views.differ("orders", should.collect()));
    let placed = count(ledger.orders.len() as u64);
    Check::new("orders", format!("{placed} placed once each, ended once each; view agrees"), faults)
}

/// How events follow from each other.
pub fn chains(ledger: &Ledger) -> Check {
    let says = "each event comes from an earlier one of its own order".to_owned();
    Check::new("chains", says, ledger.chain_faults.clone())
}

/// Goods.
pub fn stock(ledger: &Ledger, views: &Views) -> Check {
    let mut faults = Vec::new();
    let (mut received, mut shipped, mut left) = (0, 0, 0);
    for (item, goods) in &ledger.goods {
        let kept = goods.reserved.wrapping_sub(goods.released);
        if kept != goods.shipped {
            faults.push(format!(
                "{item}: {} reserved - {} released is not {} shipped",
                goods.reserved, goods.released, goods.shipped
            ));
        }
        match (goods.received + goods.released).checked_sub(goods.reserved) {
            Some(free) => left += free,
            None => faults.push(format!(
                "{item}: {} reserved, but {} received and {} released",
                goods.reserved, goods.received, goods.released
            )),
        }
        received += goods.received;
        shipped += goods.shipped;
    }
    let shelves = ledger.goods.iter().map(|(item, goods)| {
        let (received, reserved, released) = (goods.received, goods.reserved, goods.released);
        (item.clone(), json!({ "received": received, "reserved": reserved, "released": released }))
    });
    faults.extend(views.differ("shelves", shelves.collect()));
    let parcels = ledger
        .goods
        .iter()
        .filter(|(_, goods)| goods.parcels > 0)
        .map(|(item, goods)| (item.clone(), json!({ "parcels": goods.parcels, "units": goods.shipped })));
    faults.extend(views.differ("parcels", parcels.collect()));
    let says =
        format!("{} received = {} shipped + {} on the shelves", count(received), count(shipped), count(left));
    Check::new("stock", says, faults)
}

/// Money.
pub fn money(ledger: &Ledger, views: &Views) -> Check {
    let mut faults = Vec::new();
    let mut owed = 0;
    for (number, order) in &ledger.orders {
        let price =
            if order.outcome() == Some("shipped") { order.line.price_cents * order.line.quantity } else { 0 };
        owed += price;
        if order.charged_cents != price {
            let paid = euros(order.charged_cents);
            faults.push(format!("order {number}: {paid} paid for goods shipped worth {}", euros(price)));
        }
    }
    let money = &ledger.money;
    if money.charged_cents != owed {
        faults.push(format!("{} charged for goods worth {}", euros(money.charged_cents), euros(owed)));
    }
    let mut till = serde_json::Map::new();
    if money.charged > 0 {
        till.insert("charged".into(), money.charged.into());
        till.insert("charged_cents".into(), money.charged_cents.into());
    }
    if money.declined > 0 {
        till.insert("declined".into(), money.declined.into());
    }
    let should = (!till.is_empty()).then(|| ("total".to_owned(), Value::Object(till)));
    faults.extend(views.differ("till", should.into_iter().collect()));
    let says = format!("{} paid = {} worth of goods shipped", euros(money.charged_cents), euros(owed));
    Check::new("money", says, faults)
}

/// Events a subscription should have handled and has not.
pub struct Unsettled<'a> {
    subscriptions: Vec<(&'static str, &'static [&'static str], Position, &'a [Position])>,
    faults: Vec<String>,
}

impl<'a> Unsettled<'a> {
    /// Nothing looked at yet.
    pub fn new(progress: &'a Progress) -> Self {
        let subscriptions = HEARS.iter().map(|(name, hears)| {
            let found = progress.iter().find(|(found, ..)| **found == **name);
            let (watermark, settled) = found.map_or((0, &[][..]), |(_, at, settled, _)| (*at, settled));
            (*name, *hears, watermark, settled)
        });
        Self { subscriptions: subscriptions.collect(), faults: Vec::new() }
    }

    /// Looks at the next event of the log.
    pub fn look_at(&mut self, event: &Recorded) {
        let (at, name) = (event.position, &**event.envelope.name());
        for (subscription, hears, watermark, settled) in &self.subscriptions {
            if hears.contains(&name) && at > *watermark && settled.binary_search(&at).is_err() {
                self.faults.push(format!("{subscription} has not handled {name} at position {at}"));
            }
        }
    }
}

/// What is left to do.
pub fn pending(stats: &StoreStats, unsettled: Unsettled<'_>) -> Check {
    let mut faults = unsettled.faults;
    let rows = stats.due.iter().filter(|(_, rows)| *rows > 0);
    faults.extend(rows.map(|(queue, rows)| format!("{rows} events wait in {queue} for their time")));
    let blocked = stats.documents.iter().filter(|(name, rows)| name.starts_with(BLOCKED_PREFIX) && *rows > 0);
    faults.extend(blocked.map(|(name, rows)| {
        format!("{} has {rows} orders that wait", name.trim_start_matches(BLOCKED_PREFIX))
    }));
    let says = format!("nothing; {} subscriptions have handled all they hear", HEARS.len());
    Check::new("pending", says, faults)
}

/// What was given up.
pub fn dead(stats: &StoreStats) -> Check {
    let letters = stats.documents.iter().filter(|(name, all)| name.starts_with(DEAD_PREFIX) && *all > 0);
    let faults = letters
        .map(|(name, all)| format!("{} has {all} dead letters", name.trim_start_matches(DEAD_PREFIX)))
        .collect();
    Check::new("dead letters", "none".into(), faults)
}

/// The store's own check of everything in it.
///
/// # Errors
/// When the store cannot be read.
pub async fn file(store: &AnyStore) -> Result<Check> {
    let verified = store.verify(&|_, _| {}).await?;
    let faults = verified.faults.iter().map(|fault| match fault.position {
        Some(position) => format!("position {position}: {}", fault.problem),
        None => fault.problem.clone(),
    });
    let faults = faults.collect();
    Ok(Check::new(
        "store",
        format!("verified, {} records as they were written", count(verified.events)),
        faults,
    ))
}
