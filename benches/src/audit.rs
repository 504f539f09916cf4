//! The check without which no rate counts: what was acknowledged is there, each event once, streams in order.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use anyhow::{Result, bail, ensure};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    peers::{Log, Seen},
    workload::Sample,
};

/// Looks at events one after another.
#[derive(Debug, Default)]
pub struct Audit {
    ids: HashSet<u128>,
    versions: HashMap<i64, u64>,
    content: u64,
    fault: Option<String>,
}

impl Audit {
    /// The next event of the log.
    pub fn look(&mut self, seen: Seen<'_>) {
        if !self.ids.insert(seen.id.as_u128()) {
            self.fault.get_or_insert_with(|| format!("{} is there twice", seen.id));
        }
        let last = self.versions.entry(seen.stream).or_insert(0);
        if seen.version != *last + 1 {
            let (stream, version) = (seen.stream, seen.version);
            self.fault.get_or_insert_with(|| format!("stream {stream}: version {version} follows {last}"));
        }
        *last = seen.version;
        self.content ^= content(seen.id.as_u128(), seen.payload);
    }

    /// What is wrong, if something is.
    ///
    /// # Errors
    /// An event is there that should not be, or is not there, or differs, or comes twice or out of order.
    pub fn finish<'a>(self, acknowledged: impl Iterator<Item = &'a Arc<Sample>>) -> Result<()> {
        if let Some(fault) = self.fault {
            bail!(fault);
        }
        let (mut count, mut sum) = (0_usize, 0);
        for sample in acknowledged {
            ensure!(
                self.ids.contains(&sample.id.as_u128()),
                "{} was acknowledged and is not there",
                sample.id
            );
            count += 1;
            sum ^= content(sample.id.as_u128(), &sample.payload);
        }
        ensure!(self.ids.len() == count, "{} are there, {count} were acknowledged", self.ids.len());
        ensure!(self.content == sum, "a payload has changed");
        Ok(())
    }
}

fn content(id: u128, payload: &[u8]) -> u64 {
    xxh3_64_with_seed(payload, id as u64)
}

/// Reads everything back and compares it with what was acknowledged.
///
/// # Errors
/// It cannot be read, or is not what was acknowledged.
pub async fn audit<'a>(log: &dyn Log, acknowledged: impl Iterator<Item = &'a Arc<Sample>>) -> Result<()> {
    let mut audit = Audit::default();
    log.read_all(&mut |seen: Seen<'_>| audit.look(seen)).await?;
    audit.finish(acknowledged)
}
