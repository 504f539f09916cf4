//! What an application is to be made of, as its author says it.

use std::{fmt, sync::Arc, time::Duration};

use tidings_core::{BoxFuture, Clock, SystemClock, Text};
use tidings_durable::Config;
use tidings_store::AnyStore;

use crate::{App, BuildError, Module, Settings};

/// Opens a store by its URL.
pub type OpenStore = fn(String, Arc<dyn Clock>) -> BoxFuture<'static, Result<AnyStore, tidings_store::Error>>;

/// Puts an [`App`] together.
#[must_use = "an application is made by `build`"]
pub struct AppBuilder {
    pub(crate) open: OpenStore,
    pub(crate) settings: Settings,
    pub(crate) store: Option<AnyStore>,
    pub(crate) modules: Vec<Module>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl fmt::Debug for AppBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppBuilder").field("name", &self.settings.name).finish_non_exhaustive()
    }
}

impl AppBuilder {
    /// An empty application that opens stores by `open`. Users say `App::builder()`, which knows every engine that is
    /// compiled in.
    pub fn new(open: OpenStore) -> Self {
        Self {
            open,
            settings: Settings::default(),
            store: None,
            modules: Vec::new(),
            clock: Arc::new(SystemClock),
        }
    }

    /// Everything that is no code, at once; what is said afterwards is above it.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// The application's name, for people; `app` by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// The store, by URL: `sqlite:orders.db` or `memory:`.
    pub fn store(mut self, url: impl Into<String>) -> Self {
        self.settings.store = Some(url.into());
        self.store = None;
        self
    }

    /// A store that is open already.
    pub fn open_store(mut self, store: AnyStore) -> Self {
        self.store = Some(store);
        self
    }

    /// The source of events published here, as a URI reference; `/tidings` by default.
    pub fn source(mut self, source: impl Into<Text>) -> Self {
        self.settings.source = source.into().to_string();
        self
    }

    /// Adds a module.
    pub fn module(mut self, module: Module) -> Self {
        self.modules.push(module);
        self
    }

    /// Another clock than the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long a shutdown waits for handlers that run; 10 seconds by default.
    pub fn drain(mut self, deadline: Duration) -> Self {
        self.settings.drain = deadline;
        self
    }

    /// The largest payload that may be published, in bytes; 1 MiB by default.
    pub fn payload_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.payload_bytes_max = bytes;
        self
    }

    /// Settings of durable subscriptions. Source and payload limit are the application's.
    pub fn durable(mut self, config: Config) -> Self {
        self.settings.durable = config;
        self
    }

    /// Settings of the pools of buffered handlers.
    pub fn buffered(mut self, config: tidings_runtime::Config) -> Self {
        self.settings.buffered = config;
        self
    }

    /// The application, checked and with its store open, not yet started.
    ///
    /// # Errors
    /// Every fault there is: names used twice, invalid patterns, policies and settings, handlers that need a store when
    /// there is none, a store that cannot be opened.
    pub async fn build(self) -> Result<App, BuildError> {
        crate::build::build(self).await
    }
}
