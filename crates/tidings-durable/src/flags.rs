//! Feature flags that are kept: changed by anybody who reaches the store, noticed by all who run on it.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings_core::{
    Clock, Commit, DocumentChange, DocumentKey, DocumentWrite, Flag, Tenant, Text, Timestamp,
};
use tidings_policy::{FlagChange, FlagTarget, MemoryFlags};
use tidings_store::{AnyStore, DocumentQuery, Error};
use tokio_util::sync::CancellationToken;

/// Where flags are kept: all that are set in one document, so that looking for a change is one read.
pub const FLAGS: &str = "$flags";

/// Where it is kept who changed them: the latest 1,000 changes.
pub const FLAG_HISTORY: &str = "$flags/history";

const HISTORY_MAX: usize = 1_000;

/// How long two looks for changes are apart at least.
const LOOK: Duration = Duration::from_millis(200);

/// How often a change is tried against others at the same time.
const TRIES: usize = 16;

/// A flag that is set, and who did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptFlag {
    /// Its setting.
    pub flag: Flag,
    /// Who set it.
    pub by: Text,
    /// When.
    pub at: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct Change {
    at: Timestamp,
    by: Text,
    target: Text,
    before: Option<Flag>,
    after: Option<Flag>,
}

/// The flags in a store.
#[derive(Clone)]
pub struct StoreFlags {
    store: AnyStore,
    tenant: Tenant,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for StoreFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreFlags").field("store", &self.store).finish_non_exhaustive()
    }
}

type All = BTreeMap<Text, KeptFlag>;

impl StoreFlags {
    /// The flags of this tenant in this store.
    pub fn new(store: AnyStore, tenant: Tenant, clock: Arc<dyn Clock>) -> Self {
        Self { store, tenant, clock }
    }

    fn key() -> DocumentKey {
        DocumentKey::new(FLAGS, "all")
    }

    async fn load(&self) -> Result<(u64, All), Error> {
        let Some(found) = self.store.document(&self.tenant, &Self::key()).await? else {
            return Ok((0, All::new()));
        };
        let all = serde_json::from_slice(&found.value)
            .map_err(|error| Error::Damaged(format!("flags: {error}")))?;
        Ok((found.version, all))
    }

    /// All that are set.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn all(&self) -> Result<Vec<(FlagTarget, KeptFlag)>, Error> {
        let (_, all) = self.load().await?;
        Ok(all.into_iter().map(|(target, kept)| (FlagTarget::from(&*target), kept)).collect())
    }

    /// Sets a flag, or with `None` forgets it, and keeps who did, in one commit.
    ///
    /// # Errors
    /// A pattern or percentage that is none, or a store that cannot be written.
    pub async fn set(&self, target: &FlagTarget, flag: Option<Flag>, by: &str) -> Result<FlagChange, Error> {
        let at = self.clock.now();
        MemoryFlags::new().set(target.clone(), flag, by, at).map_err(Error::Refused)?;
        let name = Text::from(target.to_string());
        for _ in 0..TRIES {
            let (version, mut all) = self.load().await?;
            let kept = flag.map(|flag| KeptFlag { flag, by: by.into(), at });
            let before = match kept {
                Some(kept) => all.insert(name.clone(), kept),
                None => all.remove(&name),
            }
            .map(|kept| kept.flag);
            let change = Change { at, by: by.into(), target: name.clone(), before, after: flag };
            let mut commit = Commit { tenant: self.tenant.clone(), ..Commit::default() };
            commit.documents.push(put(Self::key(), &all, Some(version)));
            // The version makes it unique: it never comes back.
            let id = format!("{:020}-{version:020}", at.as_micros().max(0));
            commit.documents.push(put(DocumentKey::new(FLAG_HISTORY, id), &change, None));
            commit.documents.extend(self.too_old().await?);
            match self.store.apply(commit).await {
                Ok(_) => {
                    return Ok(FlagChange { at, by: by.into(), target: target.clone(), before, after: flag });
                }
                Err(Error::DocumentChanged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Refused("too many change flags at the same time".into()))
    }

    /// What makes room for one change more.
    async fn too_old(&self) -> Result<Vec<DocumentWrite>, Error> {
        let mut query = DocumentQuery { tenant: self.tenant.clone(), ..DocumentQuery::all(FLAG_HISTORY) };
        let count = usize::try_from(self.store.count_documents(&query).await?).unwrap_or(usize::MAX);
        let over = (count + 1).saturating_sub(HISTORY_MAX);
        if over == 0 {
            return Ok(Vec::new());
        }
        query.limit = over.min(HISTORY_MAX);
        let delete = |key| DocumentWrite {
            key,
            change: DocumentChange::Delete,
            indexed: Arc::from([]),
            expected: None,
        };
        Ok(self.store.documents(&query).await?.into_iter().map(|one| delete(one.key)).collect())
    }

    /// The latest changes, the oldest first; at most 1,000.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn history(&self) -> Result<Vec<FlagChange>, Error> {
        let mut query = DocumentQuery { tenant: self.tenant.clone(), ..DocumentQuery::all(FLAG_HISTORY) };
        query.limit = HISTORY_MAX;
        let mut changes = Vec::new();
        for document in self.store.documents(&query).await? {
            let change: Change = serde_json::from_slice(&document.value)
                .map_err(|error| Error::Damaged(format!("a change of a flag: {error}")))?;
            let Change { at, by, target, before, after } = change;
            changes.push(FlagChange { at, by, target: FlagTarget::from(&*target), before, after });
        }
        Ok(changes)
    }

    /// A copy in memory that [`Followed::follow`] keeps as the store has it: above what it holds now, which comes back
    /// where the store forgets a flag.
    pub fn over(self, flags: Arc<MemoryFlags>) -> Followed {
        let below = flags.all().into_iter().collect();
        Followed { kept: self, flags, below, seen: All::new(), version: None }
    }
}

/// A copy of the flags of a store, for guards to ask.
#[derive(Debug)]
pub struct Followed {
    kept: StoreFlags,
    flags: Arc<MemoryFlags>,
    below: BTreeMap<FlagTarget, Flag>,
    seen: All,
    version: Option<u64>,
}

impl Followed {
    /// Takes over what has changed in the store; one read when nothing has.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn look(&mut self) -> Result<(), Error> {
        let (version, all) = self.kept.load().await?;
        if self.version == Some(version) {
            return Ok(());
        }
        for (name, kept) in &all {
            if self.seen.get(name) != Some(kept) {
                self.set(name, Some(kept.flag), &kept.by, kept.at);
            }
        }
        for (name, before) in &self.seen {
            if !all.contains_key(name) {
                let below = self.below.get(&FlagTarget::from(&**name)).copied();
                self.set(name, below, &before.by, self.kept.clock.now());
            }
        }
        (self.seen, self.version) = (all, Some(version));
        Ok(())
    }

    fn set(&self, name: &str, flag: Option<Flag>, by: &Text, at: Timestamp) {
        if let Err(fault) = self.flags.set(FlagTarget::from(name), flag, by.clone(), at) {
            tracing::error!(flag = name, %fault, "a flag in the store is not taken over");
        }
    }

    /// Looks after every commit, of this process and of others, until it is told to stop: a change is noticed within a
    /// second.
    pub async fn follow(mut self, stop: CancellationToken) {
        let mut beats = self.kept.store.beats();
        loop {
            beats.borrow_and_update();
            let looked = self.look().await;
            if let Err(error) = &looked {
                tracing::warn!(%error, "flags are as they were");
            }
            let wait = self.kept.clock.sleep(LOOK);
            tokio::select! {
                () = stop.cancelled() => return,
                () = wait => {}
            }
            if looked.is_ok() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = beats.changed() => if changed.is_err() { return },
                }
            }
        }
    }
}

fn put(key: DocumentKey, value: &impl Serialize, expected: Option<u64>) -> DocumentWrite {
    let value = Bytes::from(serde_json::to_vec(value).expect("plain data"));
    DocumentWrite { key, change: DocumentChange::Put(value), indexed: Arc::from([]), expected }
}
