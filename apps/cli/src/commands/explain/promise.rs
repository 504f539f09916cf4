//! What is promised on the way to a handler, by where it runs.

use tidings::{
    ModelBatches, ModelPlace,
    buffered::{Overflow, PoolConfig},
};

use crate::output::number::count;

/// Where a handler runs, in a line.
pub fn place(place: &ModelPlace, pool: Option<&PoolConfig>) -> String {
    match place {
        ModelPlace::Bus => "the bus: a task of the process that publishes".into(),
        ModelPlace::Buffered { pool: name, .. } => {
            let name = if name.is_empty() { "the shared pool".into() } else { format!("pool {name}") };
            let Some(PoolConfig { queue, overflow, .. }) = pool else { return name };
            let (events, bytes) = (count(queue.events_max as u64), count(queue.bytes_max as u64));
            let workers = queue.workers;
            format!(
                "{name}: {workers} workers, at most {events} events and {bytes} bytes; when full: {overflow}"
            )
        }
        ModelPlace::Durable { subscription, concurrency, .. } => {
            format!("durable subscription {subscription}, at most {concurrency} calls at once")
        }
    }
}

/// When a batch is complete.
pub fn batches(ModelBatches { settings, by_key }: &ModelBatches) -> String {
    let bytes = settings.bytes.map_or_else(String::new, |bytes| format!(" or {} bytes", count(bytes as u64)));
    let key = if *by_key { " of one key" } else { "" };
    format!(
        "up to {} events{bytes}{key}, {:?} after the first at the latest",
        count(settings.items as u64),
        settings.age
    )
}

/// What is promised.
pub fn of(place: &ModelPlace, pool: Option<&PoolConfig>, in_batches: bool) -> String {
    match place {
        ModelPlace::Bus if in_batches => format!(
            "at most once: gathered after the event is durable; a crash between the commit and the end of the call \
             loses the delivery; {}",
            order(true)
        ),
        ModelPlace::Bus => {
            "at most once: called after the event is durable; a crash between the commit and the end of the call loses \
             the delivery; no order"
                .into()
        }
        ModelPlace::Buffered { ordered, .. } => {
            let full = pool.map_or_else(String::new, |pool| format!("; {}", when_full(&pool.overflow)));
            format!(
                "at most once: queued after the event is durable; a crash between the commit and the end of the call \
                 loses the delivery; {}{full}",
                order(*ordered)
            )
        }
        ModelPlace::Durable { ordered, .. } => format!(
            "at least once, and once in effect: what the handler writes and publishes is committed with its checkpoint; \
             effects outside of the store may happen again after a crash; {}",
            order(*ordered)
        ),
    }
}

fn order(ordered: bool) -> &'static str {
    if ordered { "in order by key, one at a time" } else { "no order" }
}

fn when_full(overflow: &Overflow) -> &'static str {
    match overflow {
        Overflow::Refuse => "when it is full, the publisher gets the event back and it is not durable either",
        Overflow::Wait(_) => {
            "when it is full, the publisher waits; after that it gets the event back and it is not durable either"
        }
        Overflow::DropOldest => {
            "when it is full, what has waited longest at the lowest level is dropped and counted"
        }
        Overflow::DropNewest => {
            "when it is full, the delivery is dropped and counted; the event stays in the log"
        }
        Overflow::Spill => {
            "when it is full, it waits in the store, and survives a crash there: at least once"
        }
        Overflow::Inline => "when it is full, the publisher calls the handler itself",
    }
}
