//! Changing a policy in the processes that have the handler, from another process.
//!
//! Whoever asks writes a request into the store. Every process that has the handler takes it up: it writes that it has
//! begun, changes the policy, and writes what came of it. Having begun is written under the version that was read, so a
//! request that nobody has taken up can be withdrawn, and what was withdrawn is carried out by nobody. A request is for
//! those who run now: it ends with the patience of whoever asked, and a change is kept by no store.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings_core::{
    BoxFuture, Clock, Commit, DocumentChange, DocumentKey, DocumentWrite, Policy, Tenant, Text, Timestamp,
};
use tidings_store::{AnyStore, DocumentQuery, Error};
use tokio_util::sync::CancellationToken;

use crate::Operator;

/// Where requests to change policies are, one document each, until they are answered.
pub const POLICY_REQUESTS: &str = "$policies/requests";

/// How long processes may still answer when the first one has.
const OTHERS: Duration = Duration::from_secs(1);

/// How long who has begun may take, beyond the patience of who asked.
const BEGUN: Duration = Duration::from_secs(5);

/// How long two looks for requests are apart at least.
const LOOK: Duration = Duration::from_millis(100);

/// When a request is removed that whoever asked has left behind.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// How often an answer is written again because another process has answered meanwhile.
const TRIES: usize = 16;

/// What a process has answered to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyAnswer {
    /// The application.
    pub application: Text,
    /// Its process, as it takes leases.
    pub process: Text,
    /// What came of it.
    pub came: PolicyCame,
}

/// What came of a request in one process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "what")]
pub enum PolicyCame {
    /// It has begun, and nobody knows more.
    Begun,
    /// The policy has changed.
    Changed {
        /// What it was.
        before: Box<Policy>,
    },
    /// Nothing has changed.
    Refused {
        /// Everything that is wrong with the policy, or cannot change, each with the path of its field.
        faults: Vec<String>,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Request {
    handler: Text,
    policy: Policy,
    by: Text,
    /// Nobody takes it up after this.
    until: Timestamp,
    answers: Vec<PolicyAnswer>,
}

fn document(key: &DocumentKey, request: Option<&Request>, expected: u64) -> Result<DocumentWrite, Error> {
    let change = match request {
        None => DocumentChange::Delete,
        Some(request) => {
            let json = serde_json::to_vec(request).map_err(|error| Error::Refused(error.to_string()))?;
            DocumentChange::Put(Bytes::from(json))
        }
    };
    Ok(DocumentWrite { key: key.clone(), change, indexed: Arc::from([]), expected: Some(expected) })
}

/// Writes a request as it is now; answers whether it still was as it had been read.
async fn write(
    store: &AnyStore,
    tenant: &Tenant,
    key: &DocumentKey,
    request: Option<&Request>,
    expected: u64,
) -> Result<bool, Error> {
    let documents = vec![document(key, request, expected)?];
    match store.apply(Commit { tenant: tenant.clone(), documents, ..Commit::default() }).await {
        Ok(_) => Ok(true),
        Err(Error::DocumentChanged { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn read(store: &AnyStore, tenant: &Tenant, key: &DocumentKey) -> Result<Option<(Request, u64)>, Error> {
    let Some(found) = store.document(tenant, key).await? else { return Ok(None) };
    let request = serde_json::from_slice(&found.value)
        .map_err(|error| Error::Damaged(format!("request {}: {error}", key.id)))?;
    Ok(Some((request, found.version)))
}

impl Operator {
    /// Asks all processes that have this handler now, wherever it runs, to change its policy until they end, and
    /// answers what came of it in each. Who does not answer within `patience` is not asked any more; when nobody has,
    /// the answer is empty and nothing was changed. After the first answer the others have a second.
    ///
    /// # Errors
    /// A store that cannot be read or written.
    pub async fn change_policy(
        &self,
        handler: &str,
        policy: Policy,
        by: &str,
        patience: Duration,
    ) -> Result<Vec<PolicyAnswer>, Error> {
        let (store, tenant) = (&self.store, &self.config.tenant);
        let key = DocumentKey { namespace: POLICY_REQUESTS.into(), id: tidings_core::id::next() };
        let begun = self.clock.now();
        let (handler, by) = (Text::from(handler), Text::from(by));
        let request = Request { handler, policy, by, until: begun.after(patience), answers: Vec::new() };
        write(store, tenant, &key, Some(&request), 0).await?;
        let mut beats = store.beats();
        let mut first: Option<Timestamp> = None;
        loop {
            beats.borrow_and_update();
            let Some((request, version)) = read(store, tenant, &key).await? else { return Ok(Vec::new()) };
            let now = self.clock.now();
            if !request.answers.is_empty() {
                first.get_or_insert(now);
            }
            let is_begun = request.answers.iter().any(|answer| answer.came == PolicyCame::Begun);
            let end = match first {
                None => request.until,
                Some(_) if is_begun => request.until.after(BEGUN),
                Some(first) => first.after(OTHERS).min(request.until),
            };
            if now >= end {
                if write(store, tenant, &key, None, version).await? {
                    return Ok(request.answers);
                }
                // Somebody has answered meanwhile.
                continue;
            }
            tokio::select! {
                () = self.clock.sleep(end.since(now)) => {}
                changed = beats.changed() => if changed.is_err() { return Err(Error::Closed) },
            }
        }
    }
}

/// Who has handlers, and may change their policies.
pub trait PolicyOwner: Send + Sync {
    /// Whether it has this handler.
    fn has(&self, handler: &str) -> bool;

    /// Changes the policy of a handler and answers what it was; when everything that shows policies shows it.
    ///
    /// # Errors
    /// Everything that is wrong with it, or cannot change; then nothing has changed.
    fn change(&self, handler: Text, policy: Policy, by: Text) -> BoxFuture<'_, Result<Policy, Vec<String>>>;
}

/// The requests in a store, as one process carries them out.
#[derive(Clone)]
pub struct PolicyRequests {
    /// The store.
    pub store: AnyStore,
    /// Whose requests.
    pub tenant: Tenant,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The application, for people.
    pub application: Text,
    /// The process: unique.
    pub process: Text,
}

impl fmt::Debug for PolicyRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyRequests").field("process", &self.process).finish_non_exhaustive()
    }
}

impl PolicyRequests {
    /// Looks after every commit, of this process and of others, until it is told to stop.
    pub async fn follow(self, owner: Arc<dyn PolicyOwner>, stop: CancellationToken) {
        let mut beats = self.store.beats();
        loop {
            beats.borrow_and_update();
            let looked = self.look(&*owner).await;
            if let Err(error) = &looked {
                tracing::warn!(%error, "requests to change policies wait");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep(LOOK) => {}
            }
            if looked.is_ok() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = beats.changed() => if changed.is_err() { return },
                }
            }
        }
    }

    /// Carries out what is asked for; one read when there is nothing.
    async fn look(&self, owner: &dyn PolicyOwner) -> Result<(), Error> {
        let query = DocumentQuery { tenant: self.tenant.clone(), ..DocumentQuery::all(POLICY_REQUESTS) };
        for found in self.store.documents(&query).await? {
            let Ok(request) = serde_json::from_slice::<Request>(&found.value) else { continue };
            let now = self.clock.now();
            if now > request.until {
                if now > request.until.after(FORGOTTEN) {
                    write(&self.store, &self.tenant, &found.key, None, found.version).await?;
                }
                continue;
            }
            if owner.has(&request.handler) && self.answered(&found.key, PolicyCame::Begun).await? {
                let changed = owner.change(request.handler, request.policy, request.by).await;
                self.answered(
                    &found.key,
                    match changed {
                        Ok(before) => PolicyCame::Changed { before: Box::new(before) },
                        Err(faults) => PolicyCame::Refused { faults },
                    },
                )
                .await?;
            }
        }
        Ok(())
    }

    /// Writes an answer; whether there was still something to answer.
    async fn answered(&self, key: &DocumentKey, came: PolicyCame) -> Result<bool, Error> {
        for _ in 0..TRIES {
            let Some((mut request, version)) = read(&self.store, &self.tenant, key).await? else {
                return Ok(false);
            };
            let mine = request.answers.iter_mut().find(|answer| answer.process == self.process);
            match mine {
                Some(_) if came == PolicyCame::Begun => return Ok(false),
                Some(mine) => mine.came = came.clone(),
                None => request.answers.push(PolicyAnswer {
                    application: self.application.clone(),
                    process: self.process.clone(),
                    came: came.clone(),
                }),
            }
            if write(&self.store, &self.tenant, key, Some(&request), version).await? {
                return Ok(true);
            }
        }
        Err(Error::Refused("too many processes answer at the same time".into()))
    }
}
