//! One tree of settings out of several layers, with every fault of every layer.
//!
//! What is typed is decided by the target type: a value is tried in its place on top of what is known to be good, so that
//! each fault is found by itself and named with its path and the layer it came from. A faulty value is left out, and the
//! rest is looked at all the same.

use std::{fmt, path::Path};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// A value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingFault {
    /// Where in the settings, such as `buffered.workers`; empty for a layer that cannot be read at all.
    pub path: String,
    /// Where it was said: a file, a variable of the environment, or `code`.
    pub origin: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for SettingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, origin, what } = self;
        match (path.is_empty(), origin.is_empty()) {
            (true, _) => write!(f, "{origin}: {what}"),
            (false, true) => write!(f, "{path}: {what}"),
            (false, false) => write!(f, "{path}: {what} ({origin})"),
        }
    }
}

/// Layers laid over the defaults of `T`, the later ones above.
pub(crate) struct Layers<T> {
    tree: Value,
    /// What was said where, for faults that only show when everything is together.
    said: Vec<(String, String)>,
    faults: Vec<SettingFault>,
    target: std::marker::PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Layers<T> {
    pub fn over(defaults: &T) -> Self {
        let (tree, faults) = match serde_json::to_value(defaults) {
            Ok(tree) => (tree, Vec::new()),
            Err(error) => (Value::Null, vec![fault("", "the defaults", error)]),
        };
        Self { tree, said: Vec::new(), faults, target: std::marker::PhantomData }
    }

    /// A file, TOML or JSON by its ending.
    pub fn file(&mut self, path: &Path) {
        let origin = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.faults.push(fault("", &origin, error)),
        };
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("toml") => self.toml(&text, &origin),
            Some("json") => self.json(&text, &origin),
            _ => self.faults.push(fault("", &origin, "a file of settings ends in .toml or .json")),
        }
    }

    pub fn toml(&mut self, text: &str, origin: &str) {
        match text.parse::<toml::Table>() {
            Ok(table) => self.lay(table.into_iter().map(|(key, value)| (key, json(value))).collect(), origin),
            Err(error) => self.faults.push(fault("", origin, error.to_string().trim_end())),
        }
    }

    pub fn json(&mut self, text: &str, origin: &str) {
        match serde_json::from_str(text) {
            Ok(Value::Object(map)) => self.lay(map, origin),
            Ok(_) => self.faults.push(fault("", origin, "settings are an object")),
            Err(error) => self.faults.push(fault("", origin, error)),
        }
    }

    /// A layer from code.
    pub fn lay(&mut self, layer: Map<String, Value>, origin: &str) {
        let mut path = Vec::new();
        for (key, value) in layer {
            path.push(key);
            self.put(&mut path, value, origin);
            path.pop();
        }
    }

    /// One value from text, as the environment has it: what can be read as JSON is taken as that, if it fits; everything
    /// else is text.
    pub fn text(&mut self, path: &[String], text: &str, origin: &str) {
        let parsed = serde_json::from_str(text).ok().filter(|value| !matches!(value, Value::String(_)));
        let text = Value::String(text.to_owned());
        let value = match parsed {
            Some(value) if self.fits(path, &value).is_ok() || self.fits(path, &text).is_err() => value,
            _ => text,
        };
        self.put(&mut path.to_vec(), value, origin);
    }

    /// One value.
    pub fn value(&mut self, path: &[String], value: Value, origin: &str) {
        self.put(&mut path.to_vec(), value, origin);
    }

    fn put(&mut self, path: &mut Vec<String>, value: Value, origin: &str) {
        if let (Value::Object(below), Some(Value::Object(_))) = (&value, at(&self.tree, path)) {
            for (key, value) in below.clone() {
                path.push(key);
                self.put(path, value, origin);
                path.pop();
            }
            return;
        }
        match self.fits(path, &value) {
            Ok(tree) => {
                self.tree = tree;
                self.said.push((path.join("."), origin.to_owned()));
            }
            Err(error) => self.refuse(path, value, origin, error),
        }
    }

    /// Which of the values below does not fit; if each does by itself, it is the whole.
    fn refuse(&mut self, path: &mut Vec<String>, value: Value, origin: &str, error: serde_json::Error) {
        let before = self.faults.len();
        if let Value::Object(below) = value {
            for (key, value) in below {
                path.push(key);
                if let Err(error) = self.fits(path, &value) {
                    self.refuse(path, value, origin, error);
                }
                path.pop();
            }
        }
        if self.faults.len() == before {
            self.faults.push(fault(&path.join("."), origin, error));
        }
    }

    /// The tree with this value in it, if that is a `T`.
    fn fits(&self, path: &[String], value: &Value) -> Result<Value, serde_json::Error> {
        let mut tree = self.tree.clone();
        let mut place = &mut tree;
        for key in path {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            let Value::Object(map) = place else { continue };
            place = map.entry(key.clone()).or_insert(Value::Null);
        }
        *place = value.clone();
        T::deserialize(&tree).map(|_| tree)
    }

    /// The settings, checked by `check`, which gives faults as `path: what`.
    pub fn finish(mut self, check: impl FnOnce(&T) -> Vec<String>) -> Result<T, Vec<SettingFault>> {
        let settings = match T::deserialize(&self.tree) {
            Ok(settings) => settings,
            Err(error) => {
                self.faults.push(fault("", "the settings", error));
                return Err(self.faults);
            }
        };
        for text in check(&settings) {
            let (path, what) = text.split_once(": ").unwrap_or(("", &text));
            let said = |(at, _): &&(String, String)| path == at || path.starts_with(&format!("{at}."));
            let origin = self.said.iter().rev().find(said).map_or("", |(_, origin)| origin);
            self.faults.push(fault(path, origin, what));
        }
        if self.faults.is_empty() { Ok(settings) } else { Err(self.faults) }
    }
}

fn fault(path: &str, origin: &str, what: impl fmt::Display) -> SettingFault {
    SettingFault { path: path.to_owned(), origin: origin.to_owned(), what: what.to_string() }
}

fn at<'a>(tree: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(tree, |place, key| place.get(key))
}

/// What JSON has no word for (not a number, infinity) becomes text, which no number takes.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => serde_json::Number::from_f64(number)
            .map_or_else(|| Value::String(number.to_string()), Value::Number),
        toml::Value::Boolean(yes) => Value::Bool(yes),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(list) => list.into_iter().map(json).collect(),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Shop {
        name: String,
        tills: u8,
        rate: f64,
        door: Door,
        night: Option<Door>,
        shelves: std::collections::BTreeMap<String, Door>,
    }

    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Door {
        width: u32,
        open: bool,
    }

    impl Default for Shop {
        fn default() -> Self {
            Self {
                name: "shop".into(),
                tills: 2,
                rate: 0.5,
                door: Door { width: 90, open: true },
                night: None,
                shelves: [].into(),
            }
        }
    }

    fn path(dotted: &str) -> Vec<String> {
        dotted.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn later_layers_win_and_what_they_do_not_say_stays() {
        let mut layers = Layers::over(&Shop::default());
        layers.toml("tills = 3\n[door]\nwidth = 100\n[shelves.top]\nwidth = 7\n", "a.toml");
        layers.json(r#"{"door": {"open": false}, "night": {"width": 1}}"#, "b.json");
        layers.text(&path("tills"), "4", "TIDINGS_TILLS");
        layers.text(&path("name"), "12", "TIDINGS_NAME");
        layers.text(&path("shelves.top.open"), "true", "TIDINGS_SHELVES__TOP__OPEN");
        let shop = layers.finish(|_| Vec::new()).expect("no fault");
        let door = |width, open| Door { width, open };
        let expected = Shop {
            name: "12".into(),
            tills: 4,
            rate: 0.5,
            door: door(100, false),
            night: Some(door(1, false)),
            shelves: [("top".to_owned(), door(7, true))].into(),
        };
        assert_eq!(shop, expected);
    }

    #[test]
    fn every_fault_of_every_layer_is_told_with_its_path_and_its_origin() {
        let mut layers = Layers::over(&Shop::default());
        layers.toml(
            "tils = 3\ntills = -1\nrate = nan\n[door]\nwidth = \"wide\"\n[night]\nwidht = 1\nopen = 7\n",
            "a.toml",
        );
        layers.toml("= 3", "b.toml");
        layers.json("[]", "c.json");
        layers.text(&path("tills"), "300", "TIDINGS_TILLS");
        layers.text(&path("door.width"), "0", "TIDINGS_DOOR__WIDTH");
        let faults = layers
            .finish(|shop| vec![format!("door.width: must be over {}", shop.door.width), "rate: odd".into()])
            .expect_err("faults");
        let told: Vec<_> = faults.iter().map(|one| (one.path.as_str(), one.origin.as_str())).collect();
        let expected = [
            ("door.width", "a.toml"),
            ("night.open", "a.toml"),
            ("night.widht", "a.toml"),
            ("rate", "a.toml"),
            ("tills", "a.toml"),
            ("tils", "a.toml"),
            ("", "b.toml"),
            ("", "c.json"),
            ("tills", "TIDINGS_TILLS"),
            ("door.width", "TIDINGS_DOOR__WIDTH"),
            ("rate", ""),
        ];
        let mut sorted = told.clone();
        sorted[..6].sort_unstable();
        assert_eq!(sorted, expected, "{faults:#?}");
        let rate = faults.iter().find(|fault| fault.path == "rate").expect("it is no number");
        assert!(rate.what.contains("NaN"), "{rate}");
        assert_eq!(faults[9].to_string(), "door.width: must be over 0 (TIDINGS_DOOR__WIDTH)");
    }
}
