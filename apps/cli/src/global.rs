//! Arguments every command has, and opening the store they name.

use anyhow::Context as _;
use tidings::{
    Mode,
    store::{AnyStore, ErrorKind},
};

/// The store, where none is named.
const STORE: &str = "sqlite:tidings.db";

/// Arguments every command has.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// The store: `sqlite:PATH`, or just a path [default: sqlite:tidings.db]
    #[arg(long, global = true, env = "TIDINGS_STORE", value_name = "URL", hide_env_values = true)]
    pub store: Option<String>,

    /// Print JSON, one object a line, for scripts
    #[arg(long, global = true)]
    pub json: bool,

    /// Log more to standard error; twice for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Global {
    /// The store's URL.
    pub fn url(&self) -> &str {
        self.store.as_deref().unwrap_or(STORE)
    }

    /// Opens the store to read. What is not there is not made.
    pub async fn reading(&self) -> anyhow::Result<AnyStore> {
        self.open(Mode::ReadOnly).await
    }

    /// Opens the store as `mode` says.
    pub async fn open(&self, mode: Mode) -> anyhow::Result<AnyStore> {
        let url = self.url();
        let opened = tidings::open_store(url, mode).await;
        opened.map_err(|error| match error.kind() {
            ErrorKind::Foreign if mode != Mode::Create => {
                let hint = "name another with `--store URL` or TIDINGS_STORE";
                anyhow::anyhow!("cannot open the store {url}: {error}; {hint}")
            }
            ErrorKind::Damaged => {
                anyhow::anyhow!("cannot open the store {url}: {error}; restore it from a backup")
            }
            _ => anyhow::Error::new(error).context(format!("cannot open the store {url}")),
        })
    }

    /// Closes the store; a command that has written is done only then.
    pub async fn close(&self, store: AnyStore) -> anyhow::Result<()> {
        store.close().await.with_context(|| format!("cannot close the store {}", self.url()))
    }
}
