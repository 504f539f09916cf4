//! A batch that was not written as it is: some of its events are known, or one is refused. Nothing else is in flight.

use tidings::{
    StoreError, Tenant,
    store::{Applied, ErrorKind},
};

use super::{
    parse::{Batch, Parsed, REUSED},
    write::Writing,
};

/// How often a batch is tried while others write to the same store.
const TRIES: u32 = 5;

impl Writing<'_> {
    /// Adds what can be added, event by event if it has to be.
    pub(super) async fn carefully(&mut self, mut batch: Batch) -> anyhow::Result<()> {
        let (tenant, text) = (batch.tenant.clone(), batch.take_text());
        let mut rest = batch.events;
        self.totals.read += rest.len() as u64;
        // Whether something of it may have been written by a commit whose answer was lost.
        let mut unsure = false;
        let mut last = None;
        for _ in 0..TRIES {
            if rest.is_empty() {
                return Ok(());
            }
            let many = rest.len() as u64;
            match self.store.apply(Batch::commit_of(&tenant, &rest)).await {
                Ok(Applied { repeated: true, .. }) if !unsure => {
                    self.totals.known += many;
                    return Ok(());
                }
                Ok(_) => {
                    self.totals.added += many;
                    tracing::info!(added = self.totals.added, known = self.totals.known, "written");
                    return Ok(());
                }
                // All are known, each with the same content, but not from one commit.
                Err(StoreError::PartlyKnown { known, given, .. }) if known == given => {
                    self.totals.known += many;
                    return Ok(());
                }
                Err(StoreError::PartlyKnown { .. } | StoreError::IdReused { .. }) => {
                    rest = self.unknown(&tenant, rest, &text).await?;
                }
                Err(error) if error.kind() == ErrorKind::Refused => {
                    return self.one_by_one(&tenant, rest, &text).await;
                }
                Err(error) if matches!(error.kind(), ErrorKind::Unknown | ErrorKind::Locked) => {
                    unsure |= error.kind() == ErrorKind::Unknown;
                    last = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        match last {
            Some(error) => Err(error.into()),
            None => self.one_by_one(&tenant, rest, &text).await,
        }
    }

    /// Those of `events` the store does not know.
    async fn unknown(
        &mut self,
        tenant: &Tenant,
        events: Vec<Parsed>,
        text: &[u8],
    ) -> anyhow::Result<Vec<Parsed>> {
        let mut unknown = Vec::new();
        for event in events {
            let envelope = &event.envelope;
            match self.store.find(tenant, envelope.source(), envelope.id()).await? {
                None => unknown.push(event),
                Some(found)
                    if found.envelope.same_content(envelope) && *found.stream == *envelope.stream() =>
                {
                    self.totals.known += 1;
                }
                Some(_) => self.refused(&event, text, REUSED.into(), Some("id"))?,
            }
        }
        Ok(unknown)
    }

    async fn one_by_one(&mut self, tenant: &Tenant, events: Vec<Parsed>, text: &[u8]) -> anyhow::Result<()> {
        for event in events {
            match self.store.apply(Batch::commit_of(tenant, std::slice::from_ref(&event))).await {
                Ok(applied) if applied.repeated => self.totals.known += 1,
                Ok(_) => self.totals.added += 1,
                Err(StoreError::IdReused { .. }) => self.refused(&event, text, REUSED.into(), Some("id"))?,
                Err(error) if error.kind() == ErrorKind::Refused => {
                    self.refused(&event, text, error.to_string(), None)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn refused(
        &mut self,
        event: &Parsed,
        text: &[u8],
        reason: String,
        field: Option<&str>,
    ) -> anyhow::Result<()> {
        self.totals.rejected += 1;
        self.rejects.push(&Batch::reject(text, event, reason, field))
    }
}
