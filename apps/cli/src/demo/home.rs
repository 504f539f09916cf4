//! Where a demo lives: the store it is given, or a folder of its own that is removed afterwards.
//!
//! A store says what it is by its first event. One that begins with anything but a demo is left alone.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tidings::{
    Clock, Commit, Envelope, Mode, SystemClock, open_store,
    store::{AnyStore, Read},
};

use super::{customers::Customers, events::ShopOpened};

/// The source of all the demo's events.
pub const SOURCE: &str = "/tidings/demo";

/// How many orders are placed unless one says otherwise.
const ORDERS: u64 = 20_000;

/// A demo's store.
pub struct Home {
    /// Where it is.
    pub url: String,
    folder: Option<TempDir>,
}

impl Home {
    /// At `url`, or in a new folder.
    ///
    /// # Errors
    /// A store in memory, which nobody else can look at; or no room for a folder.
    pub fn new(url: Option<&str>) -> Result<Self> {
        if let Some(url) = url {
            ensure!(
                !url.starts_with("memory:"),
                "the demo is proved by another process, which cannot see a store in memory; \
                 leave `--store` out for a temporary file"
            );
            return Ok(Self { url: url.to_owned(), folder: None });
        }
        let folder = tempfile::Builder::new().prefix("tidings-demo-").tempdir().context("a folder")?;
        let url = format!("sqlite:{}", folder.path().join("demo.db").display());
        Ok(Self { url, folder: Some(folder) })
    }

    /// Whether it will be removed.
    pub fn is_temporary(&self) -> bool {
        self.folder.is_some()
    }

    /// Leaves the folder where it is; answers which, if it was to be removed.
    pub fn keep(&mut self) -> Option<PathBuf> {
        self.folder.take().map(TempDir::keep)
    }

    /// Opens the store and the shop in it: the one that is there, or a new one of so many `orders`.
    ///
    /// # Errors
    /// A store of something else, or of another demo than is asked for.
    pub async fn open(&self, orders: Option<u64>, seed: Option<u64>) -> Result<(AnyStore, Customers)> {
        let store = open_store(&self.url, Mode::Create).await.with_context(|| self.url.clone())?;
        let customers = match self.customers(&store).await? {
            Some(customers) => customers,
            None => begin(&store, orders.unwrap_or(ORDERS), seed).await?,
        };
        let shop = &customers.shop;
        let asked = [("orders", orders, shop.orders), ("seed", seed, shop.seed)];
        for (what, asked, there) in asked {
            ensure!(
                asked.is_none_or(|asked| asked == there),
                "{} holds a demo with --{what} {there}; say the same, or take another store",
                self.url
            );
        }
        Ok((store, customers))
    }

    /// The demo in a store, if there is anything in it.
    ///
    /// # Errors
    /// When it is something else.
    pub async fn customers(&self, store: &AnyStore) -> Result<Option<Customers>> {
        let page = store.read(&Read::after(0).limit(1).all_tenants()).await?;
        let Some(first) = page.events.first() else { return Ok(None) };
        let envelope = &first.envelope;
        if &**envelope.source() != SOURCE || &**envelope.name() != "shop.opened" {
            bail!(
                "{} is not a demo's store: it begins with {:?} of {:?}; take another store",
                self.url,
                &**envelope.name(),
                &**envelope.source()
            );
        }
        let shop = envelope.decode::<ShopOpened>().map_err(|failure| anyhow::anyhow!(failure.describe()))?;
        let opened = envelope.time().map_or(first.recorded, |time| time.at());
        Ok(Some(Customers { shop, opened }))
    }
}

async fn begin(store: &AnyStore, orders: u64, seed: Option<u64>) -> Result<Customers> {
    let opened = SystemClock.now();
    // Without a seed, one that nobody chose; it is printed, so that anybody can have the same demo again.
    let seed = seed.unwrap_or(opened.as_micros().unsigned_abs() % 1_000_000);
    let shop = Arc::new(ShopOpened { orders, seed });
    let event = Envelope::of::<ShopOpened>(shop.clone()).id("opened").source(SOURCE).time(opened).finish()?;
    store.apply(Commit::events([event])).await?;
    Ok(Customers { shop, opened })
}
