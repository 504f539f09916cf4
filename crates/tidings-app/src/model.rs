//! What an application is made of, written into its store at start, so that people and tools can read it there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidings_core::{Batching, EventInfo, Place, Policy, Registration};
use tidings_runtime::{Config, PoolConfig};

use crate::Module;

/// Where models are kept, one document an application.
pub const MODELS: &str = "$model";

/// An application as its author declared it, and as it was changed since: handlers that came and went, and policies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The application's name.
    pub name: String,
    /// Its modules.
    pub modules: Vec<ModelModule>,
    /// The event types it publishes or handles.
    pub events: Vec<ModelEvent>,
    /// The pools its buffered handlers use or have used, by name, the shared one without a name, with the settings they
    /// began with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<String, PoolConfig>,
}

/// A module of a [`Model`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelModule {
    /// Its name.
    pub name: String,
    /// Its handlers.
    pub handlers: Vec<ModelHandler>,
    /// Names of the events it says it publishes.
    pub publishes: Vec<String>,
    /// Its views, with the fields an index is kept on.
    pub views: Vec<(String, Vec<String>)>,
    /// Its flows on the bus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<ModelFlow>,
    /// Whether it is there only for handlers that were added while the application ran.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub added: bool,
}

/// A handler of a [`ModelModule`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelHandler {
    /// Its name in its module, where its author has said one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<String>,
    /// The Rust function.
    pub function: String,
    /// What it selects.
    pub patterns: Vec<String>,
    /// The name of its durable subscription, if it has one.
    pub durable: Option<String>,
    /// Where it runs.
    #[serde(default)]
    pub place: ModelPlace,
    /// Whether a fallback stands in for it instead of giving up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fallback: bool,
    /// Its policy as it counts now, as far as somebody has said something: code, settings, and who changed it since.
    pub policy: Policy,
    /// When its batches are complete, where it takes batches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<ModelBatches>,
    /// Whether it was added while the application ran.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub added: bool,
}

/// Where a [`ModelHandler`] runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ModelPlace {
    /// On the in-process bus.
    #[default]
    Bus,
    /// On worker threads, through a bounded queue.
    Buffered {
        /// The pool; empty is the one everybody shares.
        pool: String,
        /// Whether events with the same key are handled in order, one at a time.
        ordered: bool,
    },
    /// Behind a durable subscription.
    Durable {
        /// The subscription.
        subscription: String,
        /// Whether events with the same key are handled in order, one at a time.
        ordered: bool,
        /// How many calls there are at once at most.
        concurrency: usize,
    },
}

impl From<&Place> for ModelPlace {
    fn from(place: &Place) -> Self {
        match place {
            Place::Bus => Self::Bus,
            Place::Buffered { pool, ordered } => Self::Buffered { pool: pool.to_string(), ordered: *ordered },
            Place::Durable { name, ordered, concurrency, .. } => {
                Self::Durable { subscription: name.to_string(), ordered: *ordered, concurrency: *concurrency }
            }
        }
    }
}

impl ModelHandler {
    /// The handler's name in settings, figures and dead letters: its durable subscription, else its module and the name it
    /// has there, else its module and function.
    pub fn name(&self, module: &str) -> String {
        let own = || format!("{module}/{}", self.named.as_ref().unwrap_or(&self.function));
        self.durable.clone().unwrap_or_else(own)
    }

    /// Whether a person may mean it by `name`: what it is called in its module, its function, or the last part of that.
    pub fn is_called(&self, name: &str) -> bool {
        self.named.as_deref() == Some(name)
            || self.function == name
            || self.function.rsplit("::").next() == Some(name)
    }

    /// Whether it takes batches in memory.
    pub(crate) fn gathers(&self) -> bool {
        self.batches.is_some() && self.durable.is_none()
    }
}

impl From<&Registration> for ModelHandler {
    fn from(registration: &Registration) -> Self {
        let patterns = registration.patterns().unwrap_or_default();
        Self {
            named: registration.name.as_ref().map(ToString::to_string),
            function: registration.function.to_owned(),
            patterns: patterns.iter().map(ToString::to_string).collect(),
            durable: match &registration.place {
                Place::Durable { name, .. } => Some(name.to_string()),
                Place::Bus | Place::Buffered { .. } => None,
            },
            place: (&registration.place).into(),
            fallback: registration.fallback.is_some(),
            policy: registration.policy.clone(),
            batches: registration
                .batches
                .as_ref()
                .map(|batches| ModelBatches { settings: batches.settings.clone(), by_key: batches.by_key }),
            added: false,
        }
    }
}

impl Model {
    /// A handler comes while the application runs; what it says is wrong is that its name is taken.
    pub(crate) fn join(
        &mut self,
        module: &str,
        registration: &Registration,
        buffered: &Config,
    ) -> Result<(), String> {
        let handler = ModelHandler { added: true, ..registration.into() };
        let name = handler.name(module);
        let mut all = self.modules.iter().flat_map(|one| one.handlers.iter().map(|other| (&one.name, other)));
        if let Some((_, other)) = all.find(|(module, other)| other.name(module) == name) {
            return Err(crate::names::taken(&name, &[other, &handler]));
        }
        if let Place::Buffered { pool, .. } = &registration.place {
            self.pools.entry(pool.to_string()).or_insert_with(|| buffered.of(pool).clone());
        }
        self.events.extend(registration.event.filter(|info| self.lacks(info)).map(ModelEvent::from));
        let at = self.modules.iter().position(|one| one.name == module).unwrap_or_else(|| {
            self.modules.push(ModelModule {
                name: module.to_owned(),
                handlers: Vec::new(),
                publishes: Vec::new(),
                views: Vec::new(),
                flows: Vec::new(),
                added: true,
            });
            self.modules.len() - 1
        });
        self.modules[at].handlers.push(handler);
        Ok(())
    }

    /// A handler that came while the application ran has gone. What is known of its events stays: their redacted fields
    /// may be in dead letters.
    pub(crate) fn leave(&mut self, name: &str) {
        for module in &mut self.modules {
            let of = module.name.clone();
            module.handlers.retain(|handler| !(handler.added && handler.name(&of) == name));
        }
        self.modules.retain(|module| !(module.added && module.handlers.is_empty()));
    }

    fn lacks(&self, info: &EventInfo) -> bool {
        !self.events.iter().any(|event| event.name == info.name && event.version == info.version)
    }
}

/// What a [`ModelHandler`] says about batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelBatches {
    /// When a batch is complete.
    pub settings: Batching,
    /// Whether a batch holds events of one key only.
    pub by_key: bool,
}

/// A flow of a [`ModelModule`]: what it holds is in memory, and gone after a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelFlow {
    /// Its name.
    pub name: String,
    /// What it selects on the bus.
    pub pattern: String,
}

/// An event type of a [`Model`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelEvent {
    /// Its name.
    pub name: String,
    /// Its schema version.
    pub version: u32,
    /// Its fields, with whether they are redacted.
    pub fields: Vec<(String, bool)>,
}

impl From<&EventInfo> for ModelEvent {
    fn from(info: &EventInfo) -> Self {
        let fields = info.fields.iter().map(|field| (field.name.to_owned(), field.redact)).collect();
        Self { name: info.name.to_owned(), version: info.version, fields }
    }
}

pub(crate) fn of(name: &str, modules: &[Module], buffered: &Config) -> Model {
    let mut pools = BTreeMap::new();
    for registration in modules.iter().flat_map(|module| &module.registrations) {
        if let Place::Buffered { pool, .. } = &registration.place {
            pools.insert(pool.to_string(), buffered.of(pool).clone());
        }
    }
    let mut events: Vec<ModelEvent> = Vec::new();
    for module in modules {
        let handled = module.registrations.iter().filter_map(|registration| registration.event);
        for info in handled.chain(module.publishes.iter().copied()) {
            if !events.iter().any(|event| event.name == info.name && event.version == info.version) {
                events.push(info.into());
            }
        }
    }
    events.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
    let modules = modules.iter().map(|module| ModelModule {
        name: module.name.clone(),
        handlers: module.registrations.iter().map(ModelHandler::from).collect(),
        publishes: module.publishes.iter().map(|info| info.name.to_owned()).collect(),
        views: module
            .views
            .iter()
            .map(|view| {
                (view.name().to_owned(), view.index().iter().map(|field| (*field).to_owned()).collect())
            })
            .collect(),
        flows: module
            .flows
            .iter()
            .filter_map(|flow| {
                let pattern = flow.pattern.as_ref().ok()?.to_string();
                Some(ModelFlow { name: flow.name.clone(), pattern })
            })
            .collect(),
        added: false,
    });
    Model { name: name.to_owned(), modules: modules.collect(), events, pools }
}
