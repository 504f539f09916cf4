//! The port, with the hooks of each call.

use std::{path::Path, sync::atomic::Ordering, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tidings_core::{Commit, DocumentKey, DueRow, EventQuery, Position, Tenant, Text, Timestamp};
use tidings_store::{
    Beat, Checkpoint, Document, DocumentQuery, Error, Lease, Page, Progress, Read, Recorded, Store,
    StoreInfo, StoreStats, Tenants, Verified,
};
use tokio::sync::watch;

use super::Broken;
use crate::hooks::{Answer, Hook, now};

#[async_trait]
impl Store for Broken {
    fn info(&self) -> StoreInfo {
        let mut info = self.inside.store().info();
        hooks!(self, Hook::Info).for_each(|change| change(&mut info));
        info
    }

    async fn apply(&self, mut commit: Commit) -> Answer {
        hooks!(self, Hook::Commit).for_each(|change| change(&mut commit));
        let asked = commit.clone();
        let mut answer = if let Some(group) = hooks!(self, Hook::Group).next() {
            self.grouped(commit, *group).await
        } else if let Some(apply) = hooks!(self, Hook::Apply).next() {
            apply(&self.inside, commit)
        } else {
            self.inside.apply(commit)
        };
        hooks!(self, Hook::Answer).for_each(|change| change(&self.inside, &asked, &mut answer));
        let mut beat = *self.beats.borrow();
        if answer.is_ok() {
            beat = Beat { head: self.inside.head(), commits: beat.commits + 1 };
        }
        let told: Vec<bool> =
            hooks!(self, Hook::Beat).map(|change| change(&asked, &answer, &mut beat)).collect();
        if told.iter().all(|told| *told) && (answer.is_ok() || !told.is_empty()) {
            self.beats.send_replace(beat);
            self.late.lock().iter().for_each(|late| late.send_modify(|told| *told = beat));
        }
        answer
    }

    async fn read(&self, read: &Read) -> Result<Page, Error> {
        if self.closed.load(Ordering::SeqCst) && self.has(|hook| matches!(hook, Hook::ReadsOn)) {
            return Ok(Page { end: true, ..Page::default() });
        }
        let mut asked = read.clone();
        hooks!(self, Hook::Ask).for_each(|change| change(&self.inside, &mut asked));
        let mut page = now(self.open()?.read(&asked))?;
        page.events = page.events.into_iter().map(|event| self.event(event)).collect();
        hooks!(self, Hook::Page).for_each(|change| change(&self.inside, read, &mut page));
        Ok(page)
    }

    async fn head(&self) -> Result<Position, Error> {
        now(self.inside.store().head())
    }

    async fn stream_version(&self, tenant: &Tenant, stream: &str) -> Result<u64, Error> {
        let store = self.open()?;
        match hooks!(self, Hook::StreamVersion).next() {
            Some(version) => Ok(version(&self.inside, tenant, stream)),
            None => now(store.stream_version(tenant, stream)),
        }
    }

    async fn find(&self, tenant: &Tenant, source: &str, id: &str) -> Result<Option<Recorded>, Error> {
        let store = self.open()?;
        let found = match hooks!(self, Hook::Find).next() {
            Some(find) => find(&self.inside, tenant, source, id),
            None => now(store.find(tenant, source, id))?,
        };
        Ok(found.map(|event| self.event(event)))
    }

    async fn first_match(
        &self,
        tenant: &Tenant,
        query: &EventQuery,
        after: Position,
    ) -> Result<Option<Position>, Error> {
        let (mut tenant, mut query, mut after) = (tenant.clone(), query.clone(), after);
        hooks!(self, Hook::Match).for_each(|change| change(&mut tenant, &mut query, &mut after));
        now(self.open()?.first_match(&tenant, &query, after))
    }

    async fn document(&self, tenant: &Tenant, key: &DocumentKey) -> Result<Option<Document>, Error> {
        let store = self.open()?;
        match hooks!(self, Hook::Document).next() {
            Some(read) => Ok(read(&self.inside, tenant, key)),
            None => now(store.document(tenant, key)),
        }
    }

    async fn documents(&self, query: &DocumentQuery) -> Result<Vec<Document>, Error> {
        let mut asked = query.clone();
        hooks!(self, Hook::List).for_each(|change| change(&self.inside, &mut asked));
        let mut found = now(self.open()?.documents(&asked))?;
        hooks!(self, Hook::Listed).for_each(|change| change(&self.inside, query, &mut found));
        Ok(found)
    }

    async fn count_documents(&self, query: &DocumentQuery) -> Result<u64, Error> {
        let store = self.open()?;
        if let Some(count) = hooks!(self, Hook::Count).next() {
            return Ok(count(&self.inside, query));
        }
        let mut asked = query.clone();
        hooks!(self, Hook::List).for_each(|change| change(&self.inside, &mut asked));
        now(store.count_documents(&asked))
    }

    async fn checkpoint(&self, name: &str) -> Result<Checkpoint, Error> {
        let mut checkpoint = now(self.inside.store().checkpoint(name))?;
        hooks!(self, Hook::Checkpoint).for_each(|change| change(&mut checkpoint));
        Ok(checkpoint)
    }

    async fn checkpoints(&self) -> Result<Vec<(Text, Checkpoint)>, Error> {
        let mut list = now(self.inside.store().checkpoints())?;
        for (_, checkpoint) in &mut list {
            hooks!(self, Hook::Checkpoint).for_each(|change| change(checkpoint));
        }
        hooks!(self, Hook::Checkpoints).for_each(|change| change(&mut list));
        Ok(list)
    }

    async fn lease(&self, name: &str, owner: &str, span: Duration) -> Result<Lease, Error> {
        let store = self.open()?;
        if self.has(|hook| matches!(hook, Hook::LeaseInTwoSteps)) {
            let free = now(store.holder(name))?.is_none();
            tokio::task::yield_now().await;
            if let (true, Some(other)) = (free, now(store.holder(name))?) {
                now(store.release(name, &other))?;
            }
        }
        match hooks!(self, Hook::Lease).next() {
            Some(lease) => Ok(lease(&self.inside, name, owner, span)),
            None => now(store.lease(name, owner, span)),
        }
    }

    async fn release(&self, name: &str, owner: &str) -> Result<(), Error> {
        let store = self.open()?;
        match hooks!(self, Hook::Release).next() {
            Some(release) => release(&self.inside, name, owner),
            None => now(store.release(name, owner))?,
        }
        Ok(())
    }

    async fn holder(&self, name: &str) -> Result<Option<Text>, Error> {
        let store = self.open()?;
        match hooks!(self, Hook::Holder).next() {
            Some(holder) => Ok(holder(&self.inside, name)),
            None => now(store.holder(name)),
        }
    }

    async fn due(
        &self,
        tenants: &Tenants,
        queue: &str,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Tenant, DueRow)>, Error> {
        let (mut tenants, mut queue, mut until, mut limit) =
            (tenants.clone(), queue.to_owned(), until, limit);
        hooks!(self, Hook::AskDue)
            .for_each(|change| change(&mut tenants, &mut queue, &mut until, &mut limit));
        let mut rows = now(self.open()?.due(&tenants, &queue, until, limit))?;
        hooks!(self, Hook::Due).for_each(|change| change(&mut rows));
        Ok(rows)
    }

    async fn blob(&self, tenant: &Tenant, key: &str) -> Result<Option<Bytes>, Error> {
        let store = self.open()?;
        match hooks!(self, Hook::Blob).next() {
            Some(blob) => Ok(blob(&self.inside, tenant, key)),
            None => now(store.blob(tenant, key)),
        }
    }

    async fn stats(&self) -> Result<StoreStats, Error> {
        let mut figures = now(self.open()?.stats())?;
        hooks!(self, Hook::Stats).for_each(|change| change(&self.inside, &mut figures));
        Ok(figures)
    }

    fn beats(&self) -> watch::Receiver<Beat> {
        if self.has(|hook| matches!(hook, Hook::LateBeats)) {
            let (late, receiver) = watch::channel(Beat::default());
            self.late.lock().push(late);
            return receiver;
        }
        self.beats.subscribe()
    }

    async fn verify(&self, progress: Progress<'_>) -> Result<Verified, Error> {
        let told: Progress<'_> =
            if self.has(|hook| matches!(hook, Hook::NoProgress)) { &|_, _| {} } else { progress };
        let mut verified = now(self.open()?.verify(told))?;
        hooks!(self, Hook::Verified).for_each(|change| change(&mut verified));
        Ok(verified)
    }

    async fn backup(&self, to: &Path, progress: Progress<'_>) -> Result<(), Error> {
        now(self.inside.store().backup(to, progress))
    }

    async fn close(&self) -> Result<(), Error> {
        let again = self.closed.swap(true, Ordering::SeqCst);
        if again && self.has(|hook| matches!(hook, Hook::ClosesOnce)) {
            return Err(Error::Closed);
        }
        now(self.inside.store().close())
    }
}
