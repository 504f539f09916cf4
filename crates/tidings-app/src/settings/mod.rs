//! The settings of an application, as one typed structure: defaults, then files, then the environment, then code.

mod layers;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tidings_core::{Flag, PAYLOAD_BYTES_MAX, Policy, span};

use layers::Layers;
pub use layers::SettingFault;

/// What variables of the environment begin with.
pub const ENVIRONMENT_PREFIX: &str = "TIDINGS_";

/// Everything about an application that is not code. Every field has a test that fails when it is ignored.
///
/// ```
/// use tidings_app::Settings;
/// let settings = Settings::load()
///     .toml("drain = \"3s\"\n[buffered.shared.queue]\nworkers = 2\n")
///     .environment([("TIDINGS_BUFFERED__SHARED__QUEUE__WORKERS", "4")])
///     .finish()?;
/// assert_eq!(settings.buffered.shared.queue.workers, 4);
/// # Ok::<(), tidings_app::SettingsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The application's name, for people.
    pub name: String,
    /// The source of events published here, as a URI reference.
    pub source: String,
    /// The store, by URL; none unless said.
    pub store: Option<String>,
    /// How long a shutdown waits for handlers that run.
    #[serde(with = "span")]
    pub drain: Duration,
    /// The largest payload that may be published, in bytes.
    pub payload_bytes_max: usize,
    /// Pools of buffered handlers.
    pub buffered: tidings_runtime::Config,
    /// Durable subscriptions.
    pub durable: tidings_durable::Config,
    /// The bus.
    pub bus: BusSettings,
    /// Dead letters.
    pub dead_letters: DeadLetterSettings,
    /// What policies of handlers say, by the handler's name (`module/function`, or that of its durable subscription),
    /// wherever code does not say it.
    pub policies: BTreeMap<String, Policy>,
    /// Feature flags.
    pub flags: BTreeMap<String, Flag>,
}

/// Settings of the bus.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BusSettings {
    /// How many listeners an event may have before somebody is warned; nobody looks unless said.
    pub listeners_max: Option<usize>,
}

/// Settings of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLetterSettings {
    /// How many are kept in memory, where there is no store; of more, the oldest go.
    pub memory_max: usize,
    /// Over how many somebody is told.
    pub alert_over: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "app".into(),
            source: "/tidings".into(),
            store: None,
            drain: Duration::from_secs(10),
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            buffered: tidings_runtime::Config::default(),
            durable: tidings_durable::Config::default(),
            bus: BusSettings::default(),
            dead_letters: DeadLetterSettings::default(),
            policies: BTreeMap::new(),
            flags: BTreeMap::new(),
        }
    }
}

impl Default for DeadLetterSettings {
    fn default() -> Self {
        Self { memory_max: 10_000, alert_over: 100 }
    }
}

/// Defaults for a purpose; files, the environment and code come above them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// While writing code: two workers, leaks are watched, a full queue says so at once, and a shutdown takes a second.
    Dev,
    /// In service: workers follow the load, what does not fit is dropped by nobody and waits longer, and a shutdown has
    /// half a minute.
    Production,
}

impl Preset {
    fn layer(self) -> Map<String, Value> {
        let layer = match self {
            Self::Dev => json!({
                "drain": "1s",
                "bus": { "listeners_max": 10 },
                "buffered": { "shared": { "queue": { "workers": 2 }, "overflow": "refuse" } },
            }),
            Self::Production => json!({
                "drain": "30s",
                "buffered": { "shared": { "queue": { "scaling": {} }, "overflow": { "wait": "30s" } } },
            }),
        };
        match layer {
            Value::Object(layer) => layer,
            _ => Map::new(),
        }
    }
}

/// Everything that is wrong with settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// The faults; never empty.
    pub faults: Vec<SettingFault>,
}

impl std::fmt::Display for SettingsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.faults.as_slice() {
            [one] => write!(f, "a setting cannot be used: {one}"),
            many => {
                write!(f, "{} settings cannot be used:", many.len())?;
                many.iter().try_for_each(|fault| write!(f, "\n  - {fault}"))
            }
        }
    }
}

impl std::error::Error for SettingsError {}

/// Settings on their way: each call lays a layer over those before it, except that a preset is always the lowest.
#[derive(Debug, Clone, Default)]
#[must_use = "settings are made by `finish`"]
pub struct Loading {
    preset: Option<Preset>,
    layers: Vec<Layer>,
}

#[derive(Debug, Clone)]
enum Layer {
    File(PathBuf, IfMissing),
    Toml(String),
    Json(String),
    Environment(Vec<(String, String)>),
    Value(String, Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfMissing {
    Fault,
    Skip,
}

impl Settings {
    /// Begins with the defaults.
    pub fn load() -> Loading {
        Loading::default()
    }

    /// What is wrong with the values, each with the path of its field.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.source.is_empty() {
            faults.push("source: must not be empty".into());
        }
        if self.payload_bytes_max == 0 {
            faults.push("payload_bytes_max: must be at least 1".into());
        }
        if self.bus.listeners_max == Some(0) {
            faults.push("bus.listeners_max: 0 would warn of every listener; say nothing for no limit".into());
        }
        if self.dead_letters.memory_max == 0 {
            faults.push("dead_letters.memory_max: 0 would lose every dead letter".into());
        }
        let under = |path: &'static str| move |fault: String| format!("{path}.{fault}");
        faults.extend(self.buffered.faults().into_iter().map(under("buffered")));
        faults.extend(self.durable.faults().into_iter().map(under("durable")));
        for (name, policy) in &self.policies {
            faults.extend(policy.faults().into_iter().map(|fault| format!("policies.{name}.{fault}")));
        }
        for (name, flag) in &self.flags {
            faults.extend(flag.fault().map(|fault| format!("flags.{name}: {fault}")));
        }
        faults
    }
}

impl Loading {
    /// Defaults for a purpose.
    pub fn preset(mut self, preset: Preset) -> Self {
        self.preset = Some(preset);
        self
    }

    /// A file, TOML or JSON by its ending. That it is not there is a fault.
    pub fn file(self, path: impl Into<PathBuf>) -> Self {
        self.layer(Layer::File(path.into(), IfMissing::Fault))
    }

    /// A file that need not be there.
    pub fn file_if_there(self, path: impl Into<PathBuf>) -> Self {
        self.layer(Layer::File(path.into(), IfMissing::Skip))
    }

    /// TOML as text.
    pub fn toml(self, text: impl Into<String>) -> Self {
        self.layer(Layer::Toml(text.into()))
    }

    /// JSON as text.
    pub fn json(self, text: impl Into<String>) -> Self {
        self.layer(Layer::Json(text.into()))
    }

    /// Variables: `TIDINGS_DRAIN=5s`, `TIDINGS_BUFFERED__SHARED__QUEUE__WORKERS=4`, with two underscores for each level.
    /// Those of the process are `std::env::vars()`. One with two underscores that names no setting is a fault; one without
    /// is left alone, for others may use the prefix too.
    pub fn environment<K: Into<String>, V: Into<String>>(
        self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        let ours = variables.filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX));
        self.layer(Layer::Environment(ours.collect()))
    }

    /// One value, by its path: `.set("buffered.shared.queue.workers", 4)`.
    pub fn set(self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.layer(Layer::Value(path.into(), value.into()))
    }

    fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// The settings.
    ///
    /// # Errors
    /// Every fault of every layer, each with its path and where it was said.
    pub fn finish(self) -> Result<Settings, SettingsError> {
        let mut layers = Layers::over(&Settings::default());
        if let Some(preset) = self.preset {
            layers.lay(preset.layer(), "preset");
        }
        let known: Vec<String> = match serde_json::to_value(Settings::default()) {
            Ok(Value::Object(map)) => map.into_iter().map(|(name, _)| name).collect(),
            _ => Vec::new(),
        };
        for layer in self.layers {
            match layer {
                Layer::File(path, IfMissing::Skip) if !path.exists() => {}
                Layer::File(path, _) => layers.file(&path),
                Layer::Toml(text) => layers.toml(&text, "toml"),
                Layer::Json(text) => layers.json(&text, "json"),
                Layer::Value(path, value) => {
                    layers.value(&path.split('.').map(str::to_owned).collect::<Vec<_>>(), value, "code");
                }
                Layer::Environment(variables) => {
                    for (name, value) in variables {
                        let path = name.trim_start_matches(ENVIRONMENT_PREFIX).to_lowercase();
                        let path: Vec<_> = path.split("__").map(str::to_owned).collect();
                        if path.len() > 1 || known.contains(&path[0]) {
                            layers.text(&path, &value, &name);
                        }
                    }
                }
            }
        }
        layers.finish(Settings::faults).map_err(|faults| SettingsError { faults })
    }
}

#[cfg(test)]
mod tests;
