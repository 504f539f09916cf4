//! Which events a command is about, and walking over them page by page.

use std::process::ExitCode;

use tidings::{
    Pattern, Tenant, Text, Timestamp,
    store::{AnyStore, Filter, Read, Recorded, Tenants},
};

use crate::output::event::By;

/// Events a page: what is held of a log of any length.
const PAGE: usize = 1_000;

/// Which events, besides their names.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Which {
    /// Only streams of this category, which is what comes before a stream's first `-`
    #[arg(long)]
    pub category: Option<Text>,

    /// Only events with this tag, `field:value`; may be given several times, then all must be there
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<Text>,

    /// Only events with this key
    #[arg(long)]
    pub key: Option<Text>,

    /// Only events at or after this time, in RFC 3339
    #[arg(long, value_name = "TIME")]
    pub since: Option<Timestamp>,

    /// Only events before this time, in RFC 3339
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,

    /// Which time counts, and is shown
    #[arg(long, value_enum, default_value_t)]
    pub by: By,

    /// Only events of this tenant; without it, those of all
    #[arg(long)]
    pub tenant: Option<Text>,
}

impl Which {
    /// The filter for events whose name matches `pattern` too.
    pub fn filter(&self, pattern: Option<&Pattern>) -> Filter {
        let span = (self.since.is_some() || self.until.is_some())
            .then(|| (self.since.unwrap_or(Timestamp::MIN), self.until.unwrap_or(Timestamp::MAX)));
        let (recorded, happened) = match self.by {
            By::Recorded => (span, None),
            By::Event => (None, span),
        };
        Filter {
            names: pattern.filter(|pattern| !pattern.is_all()).cloned().into_iter().collect(),
            category: self.category.clone(),
            tags: self.tag.clone(),
            key: self.key.clone(),
            recorded,
            happened,
        }
    }

    /// Whose events, in the whole log.
    pub fn tenants(&self) -> Tenants {
        self.tenant.clone().map_or(Tenants::All, |tenant| Tenants::One(Tenant(tenant)))
    }
}

/// A walk over the answer to a question, page by page.
pub struct Walk<'a> {
    store: &'a AnyStore,
    read: Read,
    left: u64,
    end: bool,
}

impl<'a> Walk<'a> {
    /// Over at most `limit` events.
    pub fn new(store: &'a AnyStore, read: Read, limit: Option<u64>) -> Self {
        Self { store, read, left: limit.unwrap_or(u64::MAX), end: false }
    }

    /// The next events; none at the end.
    pub async fn page(&mut self) -> anyhow::Result<Option<Vec<Recorded>>> {
        while self.left > 0 && !self.end {
            self.read.limit = usize::try_from(self.left).unwrap_or(PAGE).min(PAGE);
            let page = self.store.read(&self.read).await?;
            self.read.from = page.next;
            self.end = page.end;
            self.left = self.left.saturating_sub(page.events.len() as u64);
            if !page.events.is_empty() {
                return Ok(Some(page.events));
            }
        }
        Ok(None)
    }

    /// Up to where it has come.
    pub fn place(&self) -> u64 {
        self.read.from
    }

    /// Where it goes on, if it has stopped at its limit and there may be more.
    pub fn rest(&self) -> Option<u64> {
        (!self.end).then_some(self.read.from)
    }
}

/// The status of a command that has met `troubles`.
pub fn status(troubles: u64) -> ExitCode {
    if troubles == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
