//! What an application is made of, written into its store at start, so that people and tools can read it there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidings_core::{Batching, EventInfo, Place, Policy};
use tidings_runtime::{Config, PoolConfig};

use crate::Module;

/// Where models are kept, one document an application.
pub const MODELS: &str = "$model";

/// An application as its author declared it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The application's name.
    pub name: String,
    /// Its modules.
    pub modules: Vec<ModelModule>,
    /// The event types it publishes or handles.
    pub events: Vec<ModelEvent>,
    /// The pools its buffered handlers use when it starts, by name, the shared one without a name, with their settings.
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
}

/// A handler of a [`ModelModule`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelHandler {
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
    /// Its policy, as far as code and settings say something.
    pub policy: Policy,
    /// When its batches are complete, where it takes batches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<ModelBatches>,
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
    /// The handler's name in settings, figures and dead letters: its durable subscription, else its module and function.
    pub fn name(&self, module: &str) -> String {
        self.durable.clone().unwrap_or_else(|| format!("{module}/{}", self.function))
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
        handlers: module
            .registrations
            .iter()
            .map(|registration| ModelHandler {
                function: registration.function.to_owned(),
                patterns: registration
                    .patterns()
                    .unwrap_or_default()
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                durable: match &registration.place {
                    Place::Durable { name, .. } => Some(name.to_string()),
                    Place::Bus | Place::Buffered { .. } => None,
                },
                place: (&registration.place).into(),
                fallback: registration.fallback.is_some(),
                policy: registration.policy.clone(),
                batches: registration.batches.as_ref().map(|batches| ModelBatches {
                    settings: batches.settings.clone(),
                    by_key: batches.by_key,
                }),
            })
            .collect(),
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
    });
    Model { name: name.to_owned(), modules: modules.collect(), events, pools }
}
