//! Reading dead letters out of a store.

use tidings::{
    Position,
    durable::{DeadLetter, dead_namespace},
    store::{AnyStore, DocumentQuery},
};

use super::Wanted;

/// Letters a page.
const PAGE: usize = 1_000;

/// The dead letters of a subscription after a position, a page at a time.
pub struct Letters<'a> {
    store: &'a AnyStore,
    wanted: &'a Wanted,
    query: DocumentQuery,
    end: bool,
}

impl<'a> Letters<'a> {
    /// The wanted letters of `subscription`.
    pub fn of(store: &'a AnyStore, subscription: &str, wanted: &'a Wanted, after: Position) -> Self {
        let mut query = DocumentQuery::all(dead_namespace(subscription));
        query.limit = PAGE;
        query.after = (after > 0).then(|| DeadLetter::document_id(after));
        // The engine looks for one of the fields; the others are compared here.
        let fields = [("key", &wanted.key), ("name", &wanted.name), ("reason", &wanted.reason)];
        query.field =
            fields.into_iter().find_map(|(field, value)| Some((field.into(), value.as_deref()?.into())));
        Self { store, wanted, query, end: false }
    }

    /// The next letters, in order of position; none at the end.
    pub async fn page(&mut self) -> anyhow::Result<Option<Vec<DeadLetter>>> {
        while !self.end {
            let page = self.store.documents(&self.query).await?;
            self.end = page.len() < PAGE;
            self.query.after = page.last().map(|document| document.key.id.clone());
            let letters = page.iter().map(|document| serde_json::from_slice::<DeadLetter>(&document.value));
            let letters: Vec<_> = letters.collect::<Result<_, _>>()?;
            let wanted: Vec<_> = letters.into_iter().filter(|letter| self.wants(letter)).collect();
            if !wanted.is_empty() {
                return Ok(Some(wanted));
            }
        }
        Ok(None)
    }

    fn wants(&self, letter: &DeadLetter) -> bool {
        let Wanted { reason, name, key } = self.wanted;
        reason.as_ref().is_none_or(|reason| *reason == letter.reason.to_string())
            && name.as_ref().is_none_or(|name| **name == *letter.name)
            && key.as_ref().is_none_or(|key| letter.key.as_deref() == Some(key))
    }
}
