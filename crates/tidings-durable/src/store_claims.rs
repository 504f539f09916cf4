//! Claims in the store, for handlers that are no durable subscription: several processes may have the same.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidings_core::{Claim, ClaimAsk, Claimed, Claims, Commit, Failure, Handled, Reply, Tenant, Timestamp};
use tidings_store::{AnyStore, Error};

use crate::stored::{claim_key, put_until, unavailable};

/// How often a claim is tried against others at the same time.
const TRIES: usize = 8;

/// Claims in documents: a claim is a commit, and so is its end. The version of its document is the claim's epoch, so that
/// whoever comes back late finds another one and is refused. What is over is removed by the [`Node`](crate::Node) of any
/// process on the store, a bounded number at a time.
#[derive(Clone)]
pub struct StoreClaims(Arc<Inner>);

struct Inner {
    store: AnyStore,
    tenant: Tenant,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Kept {
    /// It may be removed after this.
    until: Timestamp,
    /// Somebody works on it, until this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    working: Option<Timestamp>,
    /// It is done, which is remembered until this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    finished: Option<Timestamp>,
    /// The highest number that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

impl StoreClaims {
    /// Claims in this store, for this tenant.
    pub fn new(store: AnyStore, tenant: Tenant) -> Self {
        Self(Arc::new(Inner { store, tenant }))
    }
}

impl Inner {
    async fn load(&self, scope: &str, key: &str) -> Result<(u64, Kept), Failure> {
        let key = claim_key(scope, key);
        let found = self.store.document(&self.tenant, &key).await.map_err(|error| unavailable(&error))?;
        let Some(found) = found else { return Ok((0, Kept::default())) };
        let kept = serde_json::from_slice(&found.value)
            .map_err(|error| Failure::transient(format!("claim {}: {error}", key.id)))?;
        Ok((found.version, kept))
    }

    async fn write(&self, scope: &str, key: &str, version: u64, kept: Kept) -> Result<u64, Error> {
        let until = kept.working.into_iter().chain(kept.finished).max().unwrap_or_default();
        let mut commit = Commit { tenant: self.tenant.clone(), ..Commit::default() };
        put_until(&mut commit, claim_key(scope, key), &Kept { until, ..kept }, version, until);
        self.store.apply(commit).await.map(|applied| applied.revision)
    }

    async fn claim(&self, ask: ClaimAsk) -> Handled<Claimed> {
        for _ in 0..TRIES {
            let (version, mut kept) = self.load(&ask.scope, &ask.key).await?;
            kept.finished = kept.finished.filter(|until| *until > ask.now);
            if kept.finished.is_some() && (ask.version.is_none() || kept.version >= ask.version) {
                return Ok(Claimed::Finished);
            }
            if let Some(until) = kept.working.filter(|until| *until > ask.now) {
                return Ok(Claimed::Running(until));
            }
            kept.working = Some(ask.now.after(ask.lease));
            match self.write(&ask.scope, &ask.key, version, kept).await {
                Ok(epoch) => {
                    let ClaimAsk { scope, key, version, .. } = ask;
                    return Ok(Claimed::Mine(Claim { scope, key, version, epoch }));
                }
                Err(Error::DocumentChanged { .. }) => {}
                // If it was written after all, nobody has it until its lease ends.
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Err(Failure::transient("too many claim the same at once"))
    }

    async fn end(&self, claim: Claim, finished: Option<Timestamp>) -> Handled {
        let lost = || Failure::permanent("the claim was lost: its lease had ended");
        let (version, mut kept) = self.load(&claim.scope, &claim.key).await?;
        if version != claim.epoch {
            return Err(lost());
        }
        kept.working = None;
        if finished.is_some() {
            kept.finished = finished;
            kept.version = claim.version.max(kept.version);
        }
        match self.write(&claim.scope, &claim.key, version, kept).await {
            Ok(_) => Ok(()),
            Err(Error::DocumentChanged { .. }) => Err(lost()),
            Err(error) => Err(unavailable(&error)),
        }
    }
}

impl Claims for StoreClaims {
    fn claim(&self, ask: &ClaimAsk) -> Reply<'static, Handled<Claimed>> {
        let (claims, ask) = (self.0.clone(), ask.clone());
        Reply::Later(Box::pin(async move { claims.claim(ask).await }))
    }

    fn finish(&self, claim: &Claim, ttl: Duration, now: Timestamp) -> Reply<'static, Handled> {
        let (claims, claim) = (self.0.clone(), claim.clone());
        Reply::Later(Box::pin(async move { claims.end(claim, Some(now.after(ttl))).await }))
    }

    fn release(&self, claim: &Claim) -> Reply<'static, Handled> {
        let (claims, claim) = (self.0.clone(), claim.clone());
        Reply::Later(Box::pin(async move { claims.end(claim, None).await }))
    }
}

impl fmt::Debug for StoreClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreClaims").field("store", &self.0.store).finish_non_exhaustive()
    }
}
