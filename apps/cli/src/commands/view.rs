//! `tidings view`: the documents of views.

use std::{collections::BTreeMap, io::Write as _, process::ExitCode};

use serde_json::{json, value::RawValue};
use tidings::{
    DocumentKey, Model, Tenant, Text,
    store::{AnyStore, Document, DocumentQuery},
};

use super::log::ROWS;
use crate::{
    global::Global,
    output::{
        self,
        number::count,
        redact::models,
        table::{Column, Rows, cut},
    },
};

/// Documents a page.
const PAGE: usize = 1_000;

/// Show views and their documents
///
/// Without a name it lists the views there are. With one it prints a table of the first 20 documents, or as many as asked
/// for; with `--json` all that are wanted, one object a line with `id`, `version` and `value`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The view
    pub name: Option<Text>,

    /// Only the document with this id
    #[arg(long, requires = "name", conflicts_with_all = ["prefix", "field", "after"])]
    pub id: Option<Text>,

    /// Only documents whose id begins with this
    #[arg(long, requires = "name", default_value = "")]
    pub prefix: Text,

    /// Only documents in which this indexed field has this value
    #[arg(long = "where", requires = "name", value_name = "FIELD=VALUE", value_parser = condition)]
    pub field: Option<(Text, Text)>,

    /// Only documents after the one with this id
    #[arg(long, requires = "name", value_name = "ID")]
    pub after: Option<Text>,

    /// At most this many [default: 20 in a table, all with --json]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,

    /// Only documents of this tenant
    #[arg(long, default_value = "", hide_default_value = true)]
    pub tenant: Text,
}

fn condition(text: &str) -> Result<(Text, Text), String> {
    match text.split_once('=') {
        Some((field, value)) if !field.is_empty() => Ok((field.into(), value.into())),
        _ => Err("it must be `field=value`".to_owned()),
    }
}

/// Runs it.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    match &args.name {
        None => list(&store, global).await,
        Some(name) => show(&args, name, &store, global).await,
    }
}

/// The views there are: those that have documents, and those that applications declare.
async fn views(store: &AnyStore, models: &[Model]) -> anyhow::Result<BTreeMap<String, u64>> {
    let declared = models.iter().flat_map(|model| &model.modules).flat_map(|module| &module.views);
    let mut views: BTreeMap<String, u64> = declared.map(|(name, _)| (name.clone(), 0)).collect();
    views.extend(store.stats().await?.documents.into_iter().filter(|(name, _)| !name.starts_with('$')));
    Ok(views)
}

async fn list(store: &AnyStore, global: &Global) -> anyhow::Result<ExitCode> {
    let models = models(store).await?;
    let views = views(store, &models).await?;
    let mut out = output::out();
    let mut rows =
        Rows::new([Column::Text("view"), Column::Number("documents"), Column::Text("indexed fields")]);
    for (name, documents) in &views {
        let indexed = indexed(&models, name).unwrap_or_default();
        if global.json {
            output::json_line(&mut out, &json!({"view": name, "documents": documents, "indexed": indexed}))?;
        } else {
            rows.push([name.as_str(), &count(*documents), &indexed.join(", ")]);
        }
    }
    rows.print(&mut out)?;
    if views.is_empty() && !global.json {
        writeln!(out, "no views")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The fields an index is kept on, if an application says so.
fn indexed(models: &[Model], view: &str) -> Option<Vec<String>> {
    let declared = models.iter().flat_map(|model| &model.modules).flat_map(|module| &module.views);
    declared.filter(|(name, _)| name == view).map(|(_, fields)| fields.clone()).next()
}

async fn check(args: &Args, name: &Text, store: &AnyStore) -> anyhow::Result<()> {
    if name.starts_with('$') {
        anyhow::bail!("{name:?} is no view: names that begin with `$` are the platform's own");
    }
    let models = models(store).await?;
    if let (Some((field, _)), Some(fields)) = (&args.field, indexed(&models, name))
        && !fields.iter().any(|indexed| **indexed == **field)
    {
        let fields = if fields.is_empty() { "none".to_owned() } else { fields.join(", ") };
        anyhow::bail!("view {name} keeps no index on {field:?}; its indexed fields: {fields}");
    }
    let query = DocumentQuery { tenant: Tenant(args.tenant.clone()), ..DocumentQuery::all(name.clone()) };
    if store.count_documents(&query).await? == 0 {
        let views = views(store, &models).await?;
        if !views.contains_key(&**name) {
            let there: Vec<_> = views.into_keys().collect();
            let there = if there.is_empty() { "there are none".into() } else { there.join(", ") };
            anyhow::bail!("there is no view {name:?} in this store; views: {there}");
        }
    }
    Ok(())
}

async fn show(args: &Args, name: &Text, store: &AnyStore, global: &Global) -> anyhow::Result<ExitCode> {
    check(args, name, store).await?;
    let tenant = Tenant(args.tenant.clone());
    let mut printer = Documents::new(global.json);
    if let Some(id) = &args.id {
        let key = DocumentKey::new(name.clone(), id.clone());
        let Some(document) = store.document(&tenant, &key).await? else {
            anyhow::bail!("view {name} has no document {id:?}");
        };
        printer.push(&document)?;
        return printer.finish(None);
    }
    let mut left = args.limit.unwrap_or(if global.json { u64::MAX } else { ROWS });
    let mut query = DocumentQuery {
        tenant,
        namespace: name.clone(),
        prefix: args.prefix.clone(),
        field: args.field.clone(),
        after: args.after.clone(),
        limit: PAGE,
    };
    let mut more = true;
    while left > 0 && more {
        query.limit = usize::try_from(left).unwrap_or(PAGE).min(PAGE);
        let page = store.documents(&query).await?;
        for document in &page {
            printer.push(document)?;
        }
        left -= page.len() as u64;
        more = page.len() == query.limit;
        query.after = page.last().map(|document| document.key.id.clone()).or(query.after);
    }
    printer.finish(query.after.filter(|_| more))
}

struct Documents {
    out: output::Out,
    json: bool,
    rows: Rows,
    shown: u64,
}

impl Documents {
    fn new(json: bool) -> Self {
        Self { out: output::out(), json, rows: Self::rows(), shown: 0 }
    }

    fn rows() -> Rows {
        Rows::new([Column::Text("id"), Column::Number("version"), Column::Text("value")])
    }

    fn push(&mut self, document: &Document) -> anyhow::Result<()> {
        let value = std::str::from_utf8(&document.value)?;
        if self.json {
            let value: &RawValue = serde_json::from_str(value)?;
            let object = Object { id: &document.key.id, version: document.version, value };
            output::json_line(&mut self.out, &object)?;
        } else {
            self.rows.push([&*document.key.id, &document.version.to_string(), &cut(value)]);
            self.shown += 1;
            if self.rows.len() == PAGE {
                std::mem::replace(&mut self.rows, Self::rows()).print(&mut self.out)?;
            }
        }
        Ok(())
    }

    fn finish(mut self, more: Option<Text>) -> anyhow::Result<ExitCode> {
        if !self.json {
            if self.shown == 0 {
                writeln!(self.out, "no documents")?;
            }
            self.rows.print(&mut self.out)?;
            if let Some(after) = more {
                writeln!(self.out, "… there may be more: --after {after:?}")?;
            }
        }
        self.out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(serde::Serialize)]
struct Object<'a> {
    id: &'a str,
    version: u64,
    value: &'a RawValue,
}
