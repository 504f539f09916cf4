//! An event as bytes, for stores that know only bytes.

use anyhow::{Context, Result};
use uuid::Uuid;

use super::Seen;
use crate::workload::Sample;

/// Appends the event to `out`.
pub(super) fn encode(out: &mut Vec<u8>, sample: &Sample) {
    out.extend_from_slice(sample.id.as_bytes());
    out.extend_from_slice(&sample.stream.to_le_bytes());
    out.extend_from_slice(&sample.version.to_le_bytes());
    out.extend_from_slice(&sample.time.to_le_bytes());
    for part in [sample.name.as_bytes(), &sample.metadata, &sample.payload] {
        out.extend_from_slice(&(part.len() as u32).to_le_bytes());
        out.extend_from_slice(part);
    }
}

/// What [`encode`] wrote.
pub(super) fn decode(bytes: &[u8]) -> Result<Seen<'_>> {
    let mut rest = Rest(bytes);
    let id = Uuid::from_bytes(rest.array()?);
    let stream = i64::from_le_bytes(rest.array()?);
    let version = u64::from_le_bytes(rest.array()?);
    let _time = i64::from_le_bytes(rest.array()?);
    let name = std::str::from_utf8(rest.part()?)?;
    let _metadata = rest.part()?;
    Ok(Seen { id, stream, version, name, payload: rest.part()? })
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk().context("a record is too short")?;
        self.0 = rest;
        Ok(*array)
    }

    fn part(&mut self) -> Result<&'a [u8]> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        let (part, rest) = self.0.split_at_checked(length).context("a record is too short")?;
        self.0 = rest;
        Ok(part)
    }
}
