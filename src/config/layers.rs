//! Where values come from: defaults, file, environment, flags; the later ones win.
//!
//! Invariant: librdkafka's properties are one name each (`security.protocol`), however they are
//! written, so that a later layer replaces an earlier one's.

use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

use super::keys::{ENVIRONMENT_PREFIX, KAFKA_SECTION, KEYS, is_elsewhere};

/// Keys and values as text, from one place.
#[derive(Debug)]
pub(super) struct Layer {
    metadata: Metadata,
    entries: Vec<(String, String)>,
}

impl Layer {
    pub(super) fn defaults() -> Self {
        let entry = |(name, default): (&str, &str)| (name.to_owned(), default.to_owned());
        let pairs = KEYS.iter().filter_map(|key| Some((key.name, key.default?)));
        Self { metadata: Metadata::named("default"), entries: pairs.map(entry).collect() }
    }

    /// The variables that begin with `LETHE_`; a name that is no key's is kept, to be refused by name.
    pub(super) fn environment(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let entries = variables.into_iter().filter_map(|(variable, value)| {
            let name = variable.strip_prefix(ENVIRONMENT_PREFIX)?;
            if is_elsewhere(&variable) {
                return None;
            }
            let known = KEYS.iter().find(|key| key.variable() == variable);
            let property = name.strip_prefix("KAFKA_").map(|property| {
                let property = property.to_lowercase().replace('_', ".");
                format!("{KAFKA_SECTION}.{property}")
            });
            let key = known.map(|key| key.name.to_owned()).or(property).unwrap_or(variable);
            Some((key, value))
        });
        Self { metadata: Metadata::named("environment"), entries: entries.collect() }
    }

    pub(super) fn flags(flags: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let entries = flags.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Self { metadata: Metadata::named("flag"), entries }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut all = Dict::new();
        for (key, value) in &self.entries {
            let value = Value::from(value.as_str());
            match key.split_once('.') {
                Some((section, name)) => {
                    let mut inner = Dict::new();
                    inner.insert(name.to_owned(), value);
                    insert_section(&mut all, section, inner);
                }
                None => drop(all.insert(key.clone(), value)),
            }
        }
        Ok(Profile::Default.collect(all))
    }
}

fn insert_section(all: &mut Dict, section: &str, inner: Dict) {
    if let Some(Value::Dict(_, present)) = all.get_mut(section) {
        present.extend(inner);
    } else {
        all.insert(section.to_owned(), Value::from(inner));
    }
}

/// The TOML file.
pub(super) struct File {
    toml: figment::providers::Data<Toml>,
}

impl File {
    pub(super) fn new(path: &Path) -> Self {
        Self { toml: Toml::file_exact(path) }
    }
}

impl Provider for File {
    fn metadata(&self) -> Metadata {
        self.toml.metadata()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut data = self.toml.data()?;
        for all in data.values_mut() {
            if let Some(Value::Dict(_, section)) = all.get_mut(KAFKA_SECTION) {
                let mut flat = Dict::new();
                flatten("", std::mem::take(section), &mut flat);
                *section = flat;
            }
        }
        Ok(data)
    }
}

/// `security.protocol = "…"` without quotation marks is a table in TOML; here it is one name.
fn flatten(prefix: &str, dict: Dict, flat: &mut Dict) {
    for (name, value) in dict {
        let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        if let Value::Dict(_, inner) = value {
            flatten(&name, inner, flat);
        } else {
            flat.insert(name, value);
        }
    }
}
