//! The events that every peer stores: the same ones, of one size, made before the clock runs.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tidings_core::{Envelope, Text, Timestamp, cloudevents, id};
use uuid::Uuid;

/// Bytes of an event as serialised: its metadata (CloudEvents JSON without the data) and its payload (JSON) together.
pub const EVENT_BYTES: usize = 435;

/// The names events have in turn; all are about an order.
pub const NAMES: [&str; 4] = ["order.placed", "order.paid", "order.packed", "order.shipped"];

/// Customers that orders belong to.
pub const CUSTOMERS: u64 = 1_000;

/// What the payload is: something happened to an order.
#[tidings::event(name = "order.placed")]
#[derive(Clone, PartialEq)]
pub struct OrderChanged {
    /// Which order.
    #[event(key)]
    pub order: String,
    /// Whose.
    #[event(tag)]
    pub customer: String,
    /// What it costs.
    pub cents: u64,
    /// How many things it is.
    pub things: u32,
    /// Words that fill the event up to its size.
    pub note: String,
}

/// One event, as our engine takes it and in the parts that other stores keep.
#[derive(Debug)]
pub struct Sample {
    /// The id, a UUIDv7.
    pub id: Uuid,
    /// The stream, as a number; its name is `order-` and the number in eight digits.
    pub stream: i64,
    /// The stream's name.
    pub stream_name: Text,
    /// The version it will have in its stream, from 1.
    pub version: u64,
    /// The event's name.
    pub name: &'static str,
    /// When it happened, in microseconds since 1970.
    pub time: i64,
    /// CloudEvents JSON without the data.
    pub metadata: Bytes,
    /// JSON.
    pub payload: Bytes,
    /// The whole, as our engine takes it.
    pub envelope: Envelope,
}

/// The number of a stream by its name or its key.
///
/// # Errors
/// It is none of ours.
pub fn stream_number(name: &str) -> Result<i64> {
    let digits = name.strip_prefix("order-").unwrap_or(name);
    digits.parse().with_context(|| format!("{name} is no stream of ours"))
}

/// `total` events in `streams` streams for `appenders` appenders, each of which owns its streams, in the order in which
/// it appends them. Ids grow in the order in which appenders that are equally fast append.
///
/// # Errors
/// An event cannot be made.
pub fn samples(total: usize, streams: usize, appenders: usize) -> Result<Vec<Vec<Arc<Sample>>>> {
    let own = (streams / appenders).max(1);
    let mut parts: Vec<Vec<Arc<Sample>>> = vec![Vec::with_capacity(total / appenders + 1); appenders];
    for turn in 0..total.div_ceil(appenders) {
        for (appender, part) in parts.iter_mut().enumerate() {
            let (lap, at) = (turn / own, turn % own);
            // Streams come in another order each lap, so that neighbours in the log are strangers.
            let stream = (at * 7_919 + lap * 31) % own * appenders + appender;
            let number = turn * appenders + appender;
            part.push(Arc::new(sample(stream as i64, lap as u64 + 1, number as u64)?));
        }
    }
    Ok(parts)
}

/// The events of a single appender.
///
/// # Errors
/// An event cannot be made.
pub fn sequence(total: usize, streams: usize) -> Result<Vec<Arc<Sample>>> {
    Ok(samples(total, streams, 1)?.into_iter().flatten().collect())
}

fn sample(stream: i64, version: u64, number: u64) -> Result<Sample> {
    let key = format!("{stream:08}");
    let name = *NAMES.get(number as usize % NAMES.len()).context("there are names")?;
    let customer = format!("c{:05}", scramble(stream as u64) % CUSTOMERS);
    let time = 1_790_000_000_000_000 + number as i64 * 1_000;
    let begun = Envelope::build(name)
        .id(id::next())
        .source("/shop/orders")
        .key(key.as_str())
        .tag("customer", &customer)
        .time(Timestamp::from_micros(time))
        .correlation(format!("checkout-{:016x}", scramble(stream as u64)));
    let bare = begun.clone().finish()?;
    let metadata = cloudevents::write(&bare, None)?;
    let mut event = OrderChanged {
        order: key.clone(),
        customer,
        cents: scramble(number) % 100_000,
        things: (number % 7) as u32 + 1,
        note: String::new(),
    };
    let short = serde_json::to_vec(&event)?.len() + metadata.len();
    ensure!(short < EVENT_BYTES, "metadata leave no room: {short}");
    event.note = words(number, EVENT_BYTES - short);
    let payload = Bytes::from(serde_json::to_vec(&event)?);
    Ok(Sample {
        id: Uuid::parse_str(bare.id())?,
        stream,
        stream_name: Text::from(&*bare.stream()),
        version,
        name,
        time,
        metadata: metadata.into(),
        envelope: begun.json(payload.clone()).finish()?,
        payload,
    })
}

/// Different from its neighbours, and always the same.
pub fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Text of exactly `bytes` bytes that compresses no better than text does.
fn words(seed: u64, bytes: usize) -> String {
    const WORDS: [&str; 8] = ["leave ", "at ", "the ", "door ", "ring ", "twice ", "neighbour ", "please "];
    let (mut text, mut state) = (String::with_capacity(bytes + 16), scramble(seed));
    while text.len() < bytes {
        text.push_str(WORDS.get(state as usize % WORDS.len()).copied().unwrap_or_default());
        state = scramble(state);
    }
    text.truncate(bytes);
    text
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn every_event_has_its_size_its_own_id_and_the_next_version_of_its_stream() {
        let parts = samples(2_000, 48, 16).expect("made");
        let (mut ids, mut versions) = (HashSet::new(), HashMap::new());
        for (appender, part) in parts.iter().enumerate() {
            for sample in part {
                assert_eq!(sample.metadata.len() + sample.payload.len(), EVENT_BYTES);
                assert!(ids.insert(sample.id));
                let version = versions.entry(sample.stream).or_insert(0);
                *version += 1;
                assert_eq!(sample.version, *version);
                assert_eq!(sample.stream as usize % 16, appender, "an appender owns its streams");
                assert_eq!(stream_number(&sample.envelope.stream()).expect("ours"), sample.stream);
                let event = sample.envelope.decode::<OrderChanged>().expect("decodes");
                assert_eq!(stream_number(&event.order).expect("ours"), sample.stream);
            }
        }
        assert_eq!((ids.len(), versions.len()), (2_000, 48));
    }
}
