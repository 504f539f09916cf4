//! Claims as they are kept in the store, and the removal of what is over.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings_core::{
    Claim, Commit, DocumentChange, DocumentKey, DocumentWrite, DueChange, DueRow, Failure, Handled, OrFail,
    Tenant, Text, Timestamp,
};
use tidings_store::{AnyStore, Error, Tenants};

/// Namespaces of claims begin with this; then comes the handler.
pub const CLAIMS_PREFIX: &str = "$claims/";

/// The queue of documents that may be removed when they are over.
const OVER: &str = "$over";

/// How many are removed at once.
const SWEEP: usize = 256;

/// What is remembered of a thing that was handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finished {
    pub until: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

impl Finished {
    pub(crate) fn read(json: &[u8]) -> Handled<Self> {
        serde_json::from_slice(json).permanent()
    }

    /// Whether a thing of this version is done.
    pub(crate) fn covers(&self, version: Option<u64>, now: Timestamp) -> bool {
        self.until > now && (version.is_none() || self.version >= version)
    }

    /// Writes it over what the claim has found.
    pub(crate) fn write(&self, claim: &Claim, commit: &mut Commit) {
        let key = claim_key(&claim.scope, &claim.key);
        put_until(commit, key, self, claim.epoch, self.until);
    }
}

/// The document of a claim.
pub(crate) fn claim_key(scope: &str, key: &str) -> DocumentKey {
    DocumentKey { namespace: format!("{CLAIMS_PREFIX}{scope}").into(), id: document_id(key) }
}

/// An id for what may be longer than an id.
pub(crate) fn document_id(text: &str) -> Text {
    match text.len() {
        0..=400 => format!("k:{text}").into(),
        _ => format!("h:{:032x}", xxhash_rust::xxh3::xxh3_128(text.as_bytes())).into(),
    }
}

/// Writes a document that may be removed after `until`, over the version `found`.
pub(crate) fn put_until(
    commit: &mut Commit,
    key: DocumentKey,
    value: &impl Serialize,
    found: u64,
    until: Timestamp,
) {
    let body = Bytes::from(serde_json::to_vec(value).expect("plain data"));
    let (namespace, id) = (key.namespace.clone(), key.id.clone());
    let name = xxhash_rust::xxh3::xxh3_128(format!("{}/{namespace}{id}", namespace.len()).as_bytes());
    commit.documents.push(DocumentWrite {
        key,
        change: DocumentChange::Put(body),
        indexed: Arc::from([]),
        expected: Some(found),
    });
    let body = serde_json::to_vec(&(&*namespace, &*id)).expect("plain data");
    let (queue, id) = (Text::from(OVER), Text::from(format!("{name:032x}")));
    commit.due.push(DueChange::Put(DueRow { queue, id, due: until, body: body.into() }));
}

/// Removes what is over, a bounded number at a time; answers how many.
pub(crate) async fn sweep(store: &AnyStore, tenant: &Tenant, now: Timestamp) -> Result<usize, Error> {
    let rows = store.due(&Tenants::One(tenant.clone()), OVER, now, SWEEP).await?;
    let count = rows.len();
    for (_, row) in rows {
        let mut commit = Commit { tenant: tenant.clone(), ..Commit::default() };
        commit.due.push(DueChange::Take { queue: Text::from(OVER), id: row.id });
        let named: Result<(Text, Text), _> = serde_json::from_slice(&row.body);
        if let Ok((namespace, id)) = named {
            let key = DocumentKey { namespace, id };
            if let Some(found) = store.document(tenant, &key).await? {
                #[derive(Deserialize)]
                struct Until {
                    until: Timestamp,
                }
                let until: Option<Until> = serde_json::from_slice(&found.value).ok();
                if until.is_some_and(|one| one.until > now) {
                    continue;
                }
                commit.documents.push(DocumentWrite {
                    key,
                    change: DocumentChange::Delete,
                    indexed: Arc::from([]),
                    expected: Some(found.version),
                });
            }
        }
        match store.apply(commit).await {
            // Somebody was faster, or it is in use again.
            Ok(_) | Err(Error::DueTaken { .. } | Error::DocumentChanged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// What a store says, as a failure that may pass.
pub(crate) fn unavailable(error: &Error) -> Failure {
    Failure::transient(error.to_string())
}
