//! Events that are spilled for want of room, as documents of the application's store.

use std::sync::Arc;

use bytes::Bytes;
use tidings_core::{
    BoxFuture, Commit, DocumentChange, DocumentKey, DocumentWrite, Envelope, Failure, Handled, OrFail, Text,
    cloudevents, position_text,
};
use tidings_runtime::Spill;
use tidings_store::{AnyStore, DocumentQuery};

/// Namespaces of spilled events begin with this.
pub const SPILL_PREFIX: &str = "$spill/";

pub(crate) struct InStore(pub AnyStore);

fn namespace(pool: &str) -> Text {
    Text::from(format!("{SPILL_PREFIX}{pool}"))
}

fn write(pool: &str, number: u64, change: DocumentChange) -> DocumentWrite {
    let key = DocumentKey { namespace: namespace(pool), id: Text::from(position_text(number)) };
    DocumentWrite { key, change, indexed: Arc::from([]), expected: None }
}

impl Spill for InStore {
    fn put(&self, pool: &Text, number: u64, event: &Envelope) -> BoxFuture<'_, Handled> {
        let body = cloudevents::write(event, None).permanent();
        let pool = pool.clone();
        Box::pin(async move {
            let change = DocumentChange::Put(Bytes::from(body?));
            let commit = Commit { documents: vec![write(&pool, number, change)], ..Commit::default() };
            self.0.apply(commit).await.map(drop).map_err(Failure::from)
        })
    }

    fn rows(
        &self,
        pool: &Text,
        after: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Handled<Vec<(u64, Envelope)>>> {
        let mut query = DocumentQuery::all(namespace(pool));
        query.after = after.map(|number| Text::from(position_text(number)));
        query.limit = limit;
        Box::pin(async move {
            let mut rows = Vec::new();
            for document in self.0.documents(&query).await? {
                let number = document.key.id.trim_start_matches('0').parse().permanent()?;
                rows.push((number, cloudevents::read(&document.value).permanent()?.envelope));
            }
            Ok(rows)
        })
    }

    fn remove(&self, pool: &Text, numbers: Vec<u64>) -> BoxFuture<'_, Handled> {
        let documents = numbers.iter().map(|number| write(pool, *number, DocumentChange::Delete)).collect();
        Box::pin(async move {
            let commit = Commit { documents, ..Commit::default() };
            self.0.apply(commit).await.map(drop).map_err(Failure::from)
        })
    }
}
