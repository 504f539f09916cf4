//! Reading views from outside a handler.

use serde::de::DeserializeOwned;
use tidings_core::{DocumentKey, Tenant, Text, View};
use tidings_store::{AnyStore, Document, DocumentQuery, Error};

/// A view, to read.
#[derive(Debug, Clone)]
pub struct ViewReader {
    store: AnyStore,
    view: View,
    tenant: Tenant,
}

impl ViewReader {
    /// A view in a store.
    pub fn new(store: AnyStore, view: View) -> Self {
        Self { store, view, tenant: Tenant::default() }
    }

    /// The same view of a tenant.
    #[must_use]
    pub fn tenant(self, tenant: Tenant) -> Self {
        Self { tenant, ..self }
    }

    fn query(&self) -> DocumentQuery {
        DocumentQuery { tenant: self.tenant.clone(), ..DocumentQuery::all(self.view.name()) }
    }

    /// A document, if it is there.
    ///
    /// # Errors
    /// When the store cannot be read, or the document is no `T`.
    pub async fn get<T: DeserializeOwned>(&self, id: &str) -> Result<Option<T>, Error> {
        let found = self.store.document(&self.tenant, &DocumentKey::new(self.view.name(), id)).await?;
        found.map(|document| decode(&document).map(|(_, value)| value)).transpose()
    }

    /// All documents whose id begins with `prefix`, in order of their ids. All of them are held in memory.
    ///
    /// # Errors
    /// When the store cannot be read, or a document is no `T`.
    pub async fn list<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(Text, T)>, Error> {
        self.all(DocumentQuery { prefix: prefix.into(), ..self.query() }).await
    }

    /// All documents whose indexed field has this value, in order of their ids. All of them are held in memory.
    ///
    /// # Errors
    /// A field the view keeps no index on, a store that cannot be read, or a document that is no `T`.
    pub async fn by<T: DeserializeOwned>(&self, field: &str, value: &str) -> Result<Vec<(Text, T)>, Error> {
        if !self.view.index().contains(&field) {
            return Err(Error::Refused(format!("view {} keeps no index on {field:?}", self.view.name())));
        }
        self.all(DocumentQuery { field: Some((field.into(), value.into())), ..self.query() }).await
    }

    /// How many documents there are.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn count(&self) -> Result<u64, Error> {
        self.store.count_documents(&self.query()).await
    }

    async fn all<T: DeserializeOwned>(&self, mut query: DocumentQuery) -> Result<Vec<(Text, T)>, Error> {
        let mut all = Vec::new();
        loop {
            let page = self.store.documents(&query).await?;
            let full = page.len() >= query.limit;
            query.after = page.last().map(|document| document.key.id.clone());
            for document in &page {
                all.push(decode(document)?);
            }
            if !full {
                return Ok(all);
            }
        }
    }
}

fn decode<T: DeserializeOwned>(document: &Document) -> Result<(Text, T), Error> {
    let value = serde_json::from_slice(&document.value).map_err(|error| {
        Error::Refused(format!("document {}/{}: {error}", document.key.namespace, document.key.id))
    })?;
    Ok((document.key.id.clone(), value))
}
