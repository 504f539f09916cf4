//! URL schemes: which engine a store URL means.

use std::{path::PathBuf, sync::Arc};

use tidings_app::AppBuilder;
use tidings_core::{BoxFuture, Clock, SystemClock};
use tidings_store::{AnyStore, Error, MemoryStore};

/// How a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Read and write; a file that is not there is made.
    #[default]
    Create,
    /// Read and write what is there.
    Existing,
    /// Only read what is there.
    ReadOnly,
}

/// Opens a store by its URL: `sqlite:PATH` (also a plain path) or `memory:`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let store = tidings::open_store("memory:", tidings::Mode::Create).await?;
/// assert_eq!(store.head().await?, 0);
/// # Ok::<(), tidings::StoreError>(()) }).unwrap();
/// ```
///
/// # Errors
/// An unknown scheme, or a file that cannot be opened as asked: see [`StoreError`](crate::StoreError).
pub async fn open_store(url: &str, mode: Mode) -> Result<AnyStore, Error> {
    open(url.to_owned(), Arc::new(SystemClock), mode).await
}

async fn open(url: String, clock: Arc<dyn Clock>, mode: Mode) -> Result<AnyStore, Error> {
    match url.split_once(':') {
        Some(("memory", "")) => Ok(Arc::new(MemoryStore::new(clock))),
        Some(("sqlite", path)) => sqlite(path, clock, mode).await,
        // A drive or a scheme nobody knows; a path may hold a colon only after a separator.
        Some((scheme, _)) if !scheme.contains(['/', '.']) => Err(Error::Refused(format!(
            "no engine for {scheme:?} URLs; there are `sqlite:PATH` and `memory:`"
        ))),
        _ => sqlite(&url, clock, mode).await,
    }
}

async fn sqlite(path: &str, clock: Arc<dyn Clock>, mode: Mode) -> Result<AnyStore, Error> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() {
        return Err(Error::Refused("a path is missing: `sqlite:PATH`".into()));
    }
    let options = tidings_sqlite::Options {
        clock,
        create: mode == Mode::Create,
        read_only: mode == Mode::ReadOnly,
        ..tidings_sqlite::Options::default()
    };
    let path = PathBuf::from(path);
    let opened = tokio::task::spawn_blocking(move || tidings_sqlite::SqliteStore::open(path, options)).await;
    let store = opened.map_err(|error| Error::Io(error.to_string()))??;
    Ok(Arc::new(store))
}

/// Begins an application; what [`App`](crate::App) has in this crate besides what it brings.
pub trait Build {
    /// An empty application, which knows every engine that is compiled in.
    fn builder() -> AppBuilder;
}

impl Build for tidings_app::App {
    fn builder() -> AppBuilder {
        AppBuilder::new(|url, clock| -> BoxFuture<'static, Result<AnyStore, Error>> {
            Box::pin(open(url, clock, Mode::Create))
        })
    }
}
