//! A store and its answers as text: what comparisons compare and reports print.

use std::fmt::Write;

use bytes::Bytes;
use tidings_core::{DocumentKey, Envelope, Tenant, Text, Timestamp};

use super::kit::{Failed, all, nobody, tenant};
use crate::{AnyStore, Document, DocumentQuery, Read, Recorded, StoreStats, Tenants};

/// Every field of an envelope.
pub(super) fn envelope(event: &Envelope) -> String {
    let mut text = format!(
        "{} v{} id={} source={} key={:?} subject={:?} stream={:?} tags={:?} hops={} {:?}",
        event.name(),
        event.schema_version(),
        event.id(),
        event.source(),
        event.key(),
        event.own_subject(),
        event.own_stream(),
        event.tags(),
        event.hops(),
        event.priority(),
    );
    let parts = event.time().map(tidings_core::EventTime::parts);
    let payload = event.payload().map(bytes_text).unwrap_or_else(|error| error.to_string());
    let _ = write!(
        text,
        " time={parts:?} expiry={:?} correlation={:?} causation={:?} user={:?} tenant={:?} trace={:?}/{:?} \
         content={:?} schema={:?} attributes={:?} {:?} {payload}",
        event.expiry(),
        event.correlation(),
        event.causation(),
        event.user(),
        event.tenant(),
        event.trace_parent(),
        event.trace_state(),
        event.content_type(),
        event.data_schema(),
        event.attributes().collect::<Vec<_>>(),
        event.form(),
    );
    text
}

/// Bytes, long ones cut with their length and a sum that tells them apart.
pub(super) fn bytes_text(bytes: &Bytes) -> String {
    const SHOWN: usize = 256;
    if bytes.len() <= SHOWN {
        return format!("{bytes:?}");
    }
    // FNV-1a over words: enough to tell two payloads of a test apart.
    let step = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(0xcbf2_9ce4_8422_2325, |sum, word| step(sum, u64::from_le_bytes(*word)));
    let sum = rest.iter().fold(sum, |sum, byte| step(sum, u64::from(*byte)));
    format!("{:?}… {} bytes, sum {sum:x}", bytes.slice(..SHOWN), bytes.len())
}

/// A recorded event with everything it carries.
pub(super) fn recorded(event: &Recorded) -> String {
    format!(
        "#{} {}@{} recorded {} {}",
        event.position,
        event.stream,
        event.version,
        event.recorded.as_micros(),
        envelope(&event.envelope)
    )
}

/// A document.
pub(super) fn document(document: &Document) -> String {
    let Document { key: DocumentKey { namespace, id }, version, value } = document;
    format!("{namespace}/{id} version {version} {}", bytes_text(value))
}

/// Figures without the bytes, in which engines differ.
pub(super) fn stats(stats: &StoreStats) -> String {
    format!("{:?}", StoreStats { bytes: 0, ..stats.clone() })
}

/// The tenants the suite writes as.
pub(super) fn tenants() -> [Tenant; 3] {
    [nobody(), tenant("acme"), tenant("other")]
}

/// The blob keys the suite writes.
pub(super) const BLOBS: [&str; 4] = ["b0", "b1", "b2", "big"];

/// The leases the suite asks for.
pub(super) const LEASES: [&str; 2] = ["l0", "l1"];

/// Everything the suite can have written, line by line: two stores in the same state give the same text.
pub(super) async fn everything(store: &AnyStore) -> Result<Vec<String>, Failed> {
    let mut lines = vec![format!("head {}", store.head().await?)];
    let figures = store.stats().await?;
    for event in all(store, Read::after(0).all_tenants()).await? {
        lines.push(recorded(&event));
    }
    for of in tenants() {
        for event in all(store, Read::after(0).tenant(of.clone())).await? {
            lines.push(format!("{:?} has #{}", &*of.0, event.position));
        }
        for (namespace, _) in &figures.documents {
            let query = DocumentQuery {
                tenant: of.clone(),
                limit: crate::PAGE_EVENTS_MAX,
                ..DocumentQuery::all(namespace.as_str())
            };
            let found = store.documents(&query).await?;
            lines.extend(found.iter().map(|found| format!("{:?} {}", &*of.0, document(found))));
        }
        for key in BLOBS {
            if let Some(bytes) = store.blob(&of, key).await? {
                lines.push(format!("{:?} blob {key} {}", &*of.0, bytes_text(&bytes)));
            }
        }
    }
    for (queue, _) in &figures.due {
        for (of, row) in store.due(&Tenants::All, queue, Timestamp::MAX, usize::MAX).await? {
            lines.push(format!("{:?} due {row:?}", &*of.0));
        }
    }
    lines.extend(store.checkpoints().await?.iter().map(|(name, at)| format!("checkpoint {name} {at:?}")));
    for lease in LEASES {
        let holder: Option<Text> = store.holder(lease).await?;
        lines.push(format!("lease {lease} {holder:?}"));
    }
    lines.push(stats(&figures));
    Ok(lines)
}

/// The first lines in which two texts differ.
pub(super) fn difference(before: &[String], after: &[String]) -> Option<String> {
    let longest = before.len().max(after.len());
    let at = (0..longest).find(|at| before.get(*at) != after.get(*at))?;
    let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "nothing".into());
    Some(format!("line {at} was {} and is {}", line(before), line(after)))
}

/// Fails unless the store is as it was.
pub(super) async fn untouched(what: &str, store: &AnyStore, before: &[String]) -> Result<(), Failed> {
    match difference(before, &everything(store).await?) {
        None => Ok(()),
        Some(difference) => Err(super::kit::failed(&format!("{what} changed the store: {difference}"))),
    }
}
