//! A node's way to the store, which does harm as it is told.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tidings_core::{Commit, DocumentKey, DueRow, EventQuery, Position, Tenant, Text, Timestamp};
use tidings_store::{
    Applied, Beat, Checkpoint, Document, DocumentQuery, Error, Lease, MemoryStore, Page, Progress, Read,
    Recorded, Store, StoreInfo, StoreStats, Tenants, Verified,
};

/// What happens to one commit.
#[derive(Debug, Clone)]
pub enum Fault {
    None,
    /// It is applied, but nobody is told so.
    AppliedUnknown,
    /// It is not applied, and nobody is told so.
    LostUnknown,
    /// It is not applied.
    Fails(Error),
}

type Plan = Box<dyn FnMut(u64, &Commit) -> Fault + Send>;

/// A node's way to the store: it counts and keeps commits, and harms them as a plan says.
pub struct Link {
    pub(super) inner: Arc<MemoryStore>,
    pub(super) plan: Mutex<Plan>,
    pub(super) applies: AtomicU64,
    pub(super) commits: Mutex<Vec<Commit>>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link")
    }
}

impl Link {
    /// From now on `plan` decides about each commit of the node that moves a checkpoint, counted from 1.
    pub fn harm(&self, plan: impl FnMut(u64, &Commit) -> Fault + Send + 'static) {
        self.applies.store(0, Ordering::SeqCst);
        *self.plan.lock() = Box::new(plan);
    }

    pub fn heal(&self) {
        self.harm(|_, _| Fault::None);
    }

    /// Commits that were applied and moved a checkpoint.
    pub fn commits(&self) -> Vec<Commit> {
        self.commits.lock().clone()
    }

    /// Commits that were tried since the plan was made, applied or not.
    pub fn tried(&self) -> u64 {
        self.applies.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Store for Link {
    fn info(&self) -> StoreInfo {
        self.inner.info()
    }

    async fn apply(&self, commit: Commit) -> Result<Applied, Error> {
        if commit.checkpoints.is_empty() {
            return self.inner.apply(commit).await;
        }
        let nth = self.applies.fetch_add(1, Ordering::SeqCst) + 1;
        let fault = (self.plan.lock())(nth, &commit);
        match fault {
            Fault::Fails(error) => return Err(error),
            Fault::LostUnknown => return Err(Error::Unknown("the line is dead".into())),
            Fault::None | Fault::AppliedUnknown => {}
        }
        let applied = self.inner.apply(commit.clone()).await?;
        self.commits.lock().push(commit);
        match fault {
            Fault::AppliedUnknown => Err(Error::Unknown("the line is dead".into())),
            _ => Ok(applied),
        }
    }

    async fn read(&self, read: &Read) -> Result<Page, Error> {
        self.inner.read(read).await
    }
    async fn head(&self) -> Result<Position, Error> {
        self.inner.head().await
    }
    async fn stream_version(&self, tenant: &Tenant, stream: &str) -> Result<u64, Error> {
        self.inner.stream_version(tenant, stream).await
    }
    async fn find(&self, tenant: &Tenant, source: &str, id: &str) -> Result<Option<Recorded>, Error> {
        self.inner.find(tenant, source, id).await
    }
    async fn first_match(
        &self,
        tenant: &Tenant,
        query: &EventQuery,
        after: Position,
    ) -> Result<Option<Position>, Error> {
        self.inner.first_match(tenant, query, after).await
    }
    async fn document(&self, tenant: &Tenant, key: &DocumentKey) -> Result<Option<Document>, Error> {
        self.inner.document(tenant, key).await
    }
    async fn documents(&self, query: &DocumentQuery) -> Result<Vec<Document>, Error> {
        self.inner.documents(query).await
    }
    async fn count_documents(&self, query: &DocumentQuery) -> Result<u64, Error> {
        self.inner.count_documents(query).await
    }
    async fn checkpoint(&self, name: &str) -> Result<Checkpoint, Error> {
        self.inner.checkpoint(name).await
    }
    async fn checkpoints(&self) -> Result<Vec<(Text, Checkpoint)>, Error> {
        self.inner.checkpoints().await
    }
    async fn lease(&self, name: &str, owner: &str, span: Duration) -> Result<Lease, Error> {
        self.inner.lease(name, owner, span).await
    }
    async fn release(&self, name: &str, owner: &str) -> Result<(), Error> {
        self.inner.release(name, owner).await
    }
    async fn holder(&self, name: &str) -> Result<Option<Text>, Error> {
        self.inner.holder(name).await
    }
    async fn due(
        &self,
        tenants: &Tenants,
        queue: &str,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Tenant, DueRow)>, Error> {
        self.inner.due(tenants, queue, until, limit).await
    }
    async fn blob(&self, tenant: &Tenant, key: &str) -> Result<Option<Bytes>, Error> {
        self.inner.blob(tenant, key).await
    }
    async fn stats(&self) -> Result<StoreStats, Error> {
        self.inner.stats().await
    }
    fn beats(&self) -> tokio::sync::watch::Receiver<Beat> {
        self.inner.beats()
    }
    async fn verify(&self, progress: Progress<'_>) -> Result<Verified, Error> {
        self.inner.verify(progress).await
    }
    async fn backup(&self, to: &Path, progress: Progress<'_>) -> Result<(), Error> {
        self.inner.backup(to, progress).await
    }
    async fn close(&self) -> Result<(), Error> {
        self.inner.close().await
    }
}
