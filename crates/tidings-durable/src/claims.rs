//! Claims of a durable subscription, finished in the commit that settles the delivery.
//!
//! One process runs a subscription at a time, under its lease: so who works on what need not be written anywhere, it is
//! known in memory, and is gone with the process. What is finished is a document, written in the very commit that has
//! the delivery's effects and its checkpoint, and fenced as that is. So there is no moment in between: either all of it
//! is in the store, or the delivery comes again and finds nothing claimed.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidings_core::{
    Claim, ClaimAsk, Claimed, Claims, Commit, DocumentKey, Failure, Handled, OrFail, Reply, Tenant, Text,
    Timestamp,
};
use tidings_store::AnyStore;

use crate::stored::{self, Finished};

/// Who remembers claims of one subscription.
pub(crate) struct OwnClaims {
    store: AnyStore,
    tenant: Tenant,
    memory: Arc<dyn Claims>,
    /// What is being worked on, or is on its way into the store.
    running: Arc<Mutex<HashSet<Text>>>,
}

impl fmt::Debug for OwnClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnClaims").field("store", &self.store).finish_non_exhaustive()
    }
}

impl OwnClaims {
    pub(crate) fn new(store: AnyStore, tenant: Tenant, memory: Arc<dyn Claims>) -> Self {
        Self { store, tenant, memory, running: Arc::default() }
    }

    /// Keeps a claim until the commit of its delivery; `in_store` says who remembers it.
    pub(crate) fn hold(self: &Arc<Self>, claim: Claim, ttl: Duration, in_store: bool) -> Arc<Held> {
        Arc::new(Held { claims: self.clone(), claim, ttl, in_store, done: Mutex::new(false) })
    }
}

/// Nobody else works on this key while it lives.
struct Working {
    running: Arc<Mutex<HashSet<Text>>>,
    key: Option<Text>,
}

impl Working {
    /// It ends elsewhere: with the claim.
    fn goes_on(mut self) {
        self.key = None;
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.running.lock().remove(&key);
        }
    }
}

impl Claims for OwnClaims {
    fn claim(&self, ask: &ClaimAsk) -> Reply<'static, Handled<Claimed>> {
        if !self.running.lock().insert(ask.key.clone()) {
            return Reply::Now(Ok(Claimed::Running(ask.now.after(ask.lease))));
        }
        let working = Working { running: self.running.clone(), key: Some(ask.key.clone()) };
        let (store, tenant, ask) = (self.store.clone(), self.tenant.clone(), ask.clone());
        Reply::Later(Box::pin(async move {
            let key = stored::claim_key(&ask.scope, &ask.key);
            let found = store.document(&tenant, &key).await.transient()?;
            let version = found.as_ref().map_or(0, |document| document.version);
            let finished = found.map(|document| Finished::read(&document.value)).transpose()?;
            if finished.is_some_and(|finished| finished.covers(ask.version, ask.now)) {
                return Ok(Claimed::Finished);
            }
            working.goes_on();
            Ok(Claimed::Mine(Claim { scope: ask.scope, key: ask.key, version: ask.version, epoch: version }))
        }))
    }

    fn finish(&self, claim: &Claim, ttl: Duration, now: Timestamp) -> Reply<'static, Handled> {
        let working = Working { running: self.running.clone(), key: Some(claim.key.clone()) };
        let mut commit = Commit { tenant: self.tenant.clone(), ..Commit::default() };
        Finished { until: now.after(ttl), version: claim.version }.write(claim, &mut commit);
        let store = self.store.clone();
        Reply::Later(Box::pin(async move {
            let _working = working;
            store.apply(commit).await.map(drop).map_err(Failure::from)
        }))
    }

    fn release(&self, claim: &Claim) -> Reply<'static, Handled> {
        self.running.lock().remove(&claim.key);
        Reply::Now(Ok(()))
    }
}

/// A claim of a delivery whose call has worked, until that is in the store. Dropped before, it is released.
pub(crate) struct Held {
    claims: Arc<OwnClaims>,
    claim: Claim,
    ttl: Duration,
    in_store: bool,
    done: Mutex<bool>,
}

impl Held {
    /// Adds to the commit that it is finished, where the store remembers that.
    pub(crate) fn finish(&self, now: Timestamp, commit: &mut Commit) {
        if self.in_store {
            Finished { until: now.after(self.ttl), version: self.claim.version }.write(&self.claim, commit);
        }
    }

    /// The commit is in the store.
    pub(crate) fn is_kept(&self, now: Timestamp) {
        if !self.in_store
            && !std::mem::replace(&mut *self.done.lock(), true)
            && let Reply::Now(Err(failure)) = self.claims.memory.finish(&self.claim, self.ttl, now)
        {
            tracing::warn!(handler = %self.claim.scope, key = %self.claim.key, %failure, "a claim was lost");
        }
    }

    /// Whether `key` is its document.
    pub(crate) fn is_in(&self, key: &DocumentKey) -> bool {
        self.in_store && stored::claim_key(&self.claim.scope, &self.claim.key) == *key
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.in_store {
            drop(self.claims.release(&self.claim));
        } else if !*self.done.lock() {
            drop(self.claims.memory.release(&self.claim));
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.claim)
    }
}
