//! Puts an application together, and finds every mistake at once.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use parking_lot::RwLock;
use tidings_bus::Bus;
use tidings_core::{BoxFuture, Clock, Defaults, PAYLOAD_BYTES_MAX, Place, SystemClock, Text, View};
use tidings_durable::{Config, Node};
use tidings_policy::{Guard, MemoryFlags, Surroundings};
use tidings_runtime::{Buffered, Direct, Ground};
use tidings_store::AnyStore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    App, BuildError, Module, app::Inner, flows::Flows, model, notices::Notices, outside::AppOutside,
};

/// The most dead letters kept in memory.
const LETTERS_MAX: usize = 10_000;

/// Opens a store by its URL.
pub type OpenStore = fn(String, Arc<dyn Clock>) -> BoxFuture<'static, Result<AnyStore, tidings_store::Error>>;

/// Puts an [`App`] together.
#[must_use = "an application is made by `build`"]
pub struct AppBuilder {
    open: OpenStore,
    name: String,
    store: Option<StoreChoice>,
    source: Text,
    modules: Vec<Module>,
    clock: Arc<dyn Clock>,
    drain: Duration,
    payload_bytes_max: usize,
    durable: Config,
    buffered: tidings_runtime::Config,
    flags: Arc<MemoryFlags>,
    letters_max: usize,
}

enum StoreChoice {
    Url(String),
    Open(AnyStore),
}

impl fmt::Debug for AppBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl AppBuilder {
    /// An empty application that opens stores by `open`. Users say `App::builder()`, which knows every engine that is
    /// compiled in.
    pub fn new(open: OpenStore) -> Self {
        Self {
            open,
            name: "app".into(),
            store: None,
            source: Text::from("/tidings"),
            modules: Vec::new(),
            clock: Arc::new(SystemClock),
            drain: Duration::from_secs(10),
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            durable: Config::default(),
            buffered: tidings_runtime::Config::default(),
            flags: Arc::new(MemoryFlags::new()),
            letters_max: LETTERS_MAX,
        }
    }

    /// The application's name, for people; `app` by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The store, by URL: `sqlite:orders.db` or `memory:`.
    pub fn store(mut self, url: impl Into<String>) -> Self {
        self.store = Some(StoreChoice::Url(url.into()));
        self
    }

    /// A store that is open already.
    pub fn open_store(mut self, store: AnyStore) -> Self {
        self.store = Some(StoreChoice::Open(store));
        self
    }

    /// The source of events published here, as a URI reference; `/tidings` by default.
    pub fn source(mut self, source: impl Into<Text>) -> Self {
        self.source = source.into();
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
        self.drain = deadline;
        self
    }

    /// The largest payload that may be published, in bytes; 1 MiB by default.
    pub fn payload_bytes_max(mut self, bytes: usize) -> Self {
        self.payload_bytes_max = bytes;
        self
    }

    /// Settings of durable subscriptions. Source and payload limit are the application's.
    pub fn durable(mut self, config: Config) -> Self {
        self.durable = config;
        self
    }

    /// Settings of the pools of buffered handlers.
    pub fn buffered(mut self, config: tidings_runtime::Config) -> Self {
        self.buffered = config;
        self
    }

    /// The application, checked and with its store open, not yet started.
    ///
    /// # Errors
    /// Every fault there is: names used twice, invalid patterns, policies and settings, handlers that need a store when
    /// there is none, a store that cannot be opened.
    pub async fn build(self) -> Result<App, BuildError> {
        let mut faults = Vec::new();
        self.names(&mut faults);
        if self.source.is_empty() {
            faults.push("source: must not be empty".to_owned());
        }
        if self.payload_bytes_max == 0 {
            faults.push("payload_bytes_max: must be at least 1".to_owned());
        }
        let model = model::of(&self.name, &self.modules);
        let store = match self.store {
            None => None,
            Some(StoreChoice::Open(store)) => Some(store),
            Some(StoreChoice::Url(url)) => match (self.open)(url.clone(), self.clock.clone()).await {
                Ok(store) => Some(store),
                Err(error) => {
                    faults.push(format!("store {url}: {error}"));
                    None
                }
            },
        };
        let has_store = store.is_some() || !faults.is_empty();
        let (mut durable, mut in_memory, mut flows) = (Vec::new(), Vec::new(), Vec::new());
        for module in self.modules {
            for flow in module.flows {
                match &flow.pattern {
                    Ok(_) => flows.push((module.name.clone(), flow)),
                    Err(error) => faults.push(format!("module {}: flow {}: {error}", module.name, flow.name)),
                }
            }
            for registration in module.registrations {
                match &registration.place {
                    Place::Bus | Place::Buffered { .. } => {
                        in_memory.push((crate::on_bus::name(&module.name, &registration), registration));
                    }
                    Place::Durable { name, .. } if !has_store => {
                        faults.push(format!(
                            "module {}: subscription {name:?} is durable, which needs a store",
                            module.name
                        ));
                    }
                    Place::Durable { .. } => durable.push(registration),
                }
            }
        }
        let bus = Bus::new();
        let seed = self.durable.seed;
        let config =
            Config { source: self.source.clone(), payload_bytes: self.payload_bytes_max, ..self.durable };
        // Faults of registrations are found also when the store is not there: on one in memory that is thrown away.
        let stand_in: AnyStore =
            store.clone().unwrap_or_else(|| Arc::new(tidings_store::MemoryStore::default()));
        let heard = bus.clone();
        let published = Arc::new(move |events: &[tidings_core::Envelope]| {
            for event in events {
                heard.emit_envelope(event);
            }
        });
        let node = match Node::new(stand_in, self.clock.clone(), config, durable, published) {
            Ok(node) => Some(node),
            Err(errors) => {
                faults.extend(errors.into_iter().map(|error| error.to_string()));
                None
            }
        };
        for (name, registration) in &in_memory {
            let fault = |what: String| format!("handler {name}: {what}");
            match registration.patterns() {
                Ok(patterns) if patterns.is_empty() => {
                    faults.push(fault("it takes any event: say which with `.topic(\"…\")`".into()));
                }
                Ok(_) => {}
                Err(errors) => faults.extend(errors.into_iter().map(|error| fault(error.to_string()))),
            }
            let settings = registration.batches.as_ref().map(|batches| batches.settings.faults());
            let settings = settings.unwrap_or_default().into_iter();
            faults.extend(settings.map(|what| fault(format!("in_batches.{what}"))));
        }
        faults.extend(self.buffered.faults().into_iter().map(|fault| format!("buffered.{fault}")));
        let notices = Notices::default();
        let around = Surroundings {
            clock: self.clock.clone(),
            flags: self.flags.clone(),
            notices: notices.of_policies(),
            seed,
            defaults: Defaults::buffered(),
            ..Surroundings::default()
        };
        let mut guards = Vec::new();
        for (name, registration) in &in_memory {
            let around = Surroundings { fallback: registration.fallback.is_some(), ..around.clone() };
            match Guard::new(name.clone(), registration.policy.clone(), around) {
                Ok(guard) => guards.push(guard),
                Err(more) => {
                    faults.extend(more.faults.into_iter().map(|what| format!("handler {name}: {what}")))
                }
            }
        }
        let (Some(node), true) = (node, faults.is_empty()) else {
            if let Some(store) = store
                && let Err(error) = store.close().await
            {
                faults.push(format!("store: {error}"));
            }
            return Err(BuildError { faults });
        };
        let letters = Arc::new(tidings_runtime::MemoryDeadLetters::new(self.letters_max));
        let inner = Arc::new_cyclic(|app| {
            let outside = Arc::new(AppOutside {
                app: app.clone(),
                source: self.source.clone(),
                payload_bytes_max: self.payload_bytes_max,
                clock: self.clock.clone(),
                documents: AppOutside::documents(store.as_ref()),
            });
            let ground = Ground {
                outside: outside.clone(),
                spill: store.clone().map(|store| Arc::new(crate::spill::InStore(store)) as _),
                clock: self.clock.clone(),
                runtime: tokio::runtime::Handle::current(),
                notices: notices.of_runtime(),
            };
            notices.tell(app.clone());
            Inner {
                name: self.name,
                source: self.source,
                direct: Direct::new(outside.clone(), self.clock.clone(), notices.of_runtime()),
                buffered: Buffered::new(self.buffered, ground),
                outside,
                bridged: RwLock::default(),
                letters,
                clock: self.clock,
                node: store.is_some().then_some(node),
                store,
                bus,
                drain: self.drain,
                payload_bytes_max: self.payload_bytes_max,
                model,
                closing: CancellationToken::new(),
                calls: TaskTracker::new(),
                flows: Flows::default(),
                started: false.into(),
            }
        });
        for ((name, registration), guard) in in_memory.into_iter().zip(guards) {
            crate::on_bus::place(&inner, name, registration, guard)?;
        }
        for (module, flow) in flows {
            let name = format!("{module}/{}", flow.name);
            let fault = |what: String| BuildError { faults: vec![format!("flow {name}: {what}")] };
            let (kept, listener) =
                (flow.begin)(inner.clock.clone()).map_err(|error| fault(error.to_string()))?;
            if let Ok(pattern) = &flow.pattern {
                let guard = inner.bus.subscribe(pattern.as_str(), listener);
                guard.map_err(|error| fault(error.to_string()))?.forever();
            }
            inner.flows.keep(name, kept);
        }
        Ok(App(inner))
    }

    fn names(&self, faults: &mut Vec<String>) {
        let mut modules = HashSet::new();
        let mut views: HashSet<&str> = HashSet::new();
        for module in &self.modules {
            if module.name.is_empty() {
                faults.push("a module without a name".into());
            } else if !modules.insert(&module.name) {
                faults.push(format!("module {:?} is there twice", module.name));
            }
            for view in &module.views {
                let name = View::name(view);
                if name.is_empty() || name.starts_with('$') {
                    faults.push(format!(
                        "module {}: view {name:?}: names must not be empty or begin with `$`",
                        module.name
                    ));
                } else if !views.insert(name) {
                    faults.push(format!(
                        "module {}: view {name:?} is kept by another module already",
                        module.name
                    ));
                }
            }
        }
    }
}
