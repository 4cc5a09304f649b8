//! The merged layers: finds what is unknown, and gives each value with its place for the errors.

use std::collections::BTreeMap;
use std::path::Path;

use figment::value::{Dict, Num, Value};
use figment::{Figment, Provider, Source};

use super::ConfigError;
use super::kafka;
use super::keys::{self, ENVIRONMENT_PREFIX, KAFKA_SECTION, KEYS};

/// The values of every key, as text.
pub(super) struct Values {
    figment: Figment,
}

impl Values {
    /// Takes the merged layers, unless there is a key that nobody knows.
    pub(super) fn new(figment: Figment, file: Option<&Path>) -> Result<Self, ConfigError> {
        // Only the file has a syntax of its own to break.
        let unreadable = |error: figment::Error| ConfigError::File {
            path: file.map(Path::to_owned).unwrap_or_default(),
            why: error.kind.to_string(),
        };
        let data = figment.data().map_err(unreadable)?;
        let values = Self { figment };
        for (key, value) in data.into_values().flatten() {
            if key == KAFKA_SECTION {
                continue;
            }
            if let Value::Dict(_, section) = &value {
                values.check_section(&key, section)?;
            } else {
                values.check_known(&key, &value)?;
            }
        }
        Ok(values)
    }

    /// Parses a key's value; a key without default and value gives none.
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Ok(value) = self.figment.find_value(key) else { return Ok(None) };
        let place = || self.place(key, &value);
        let wrong = |expected| ConfigError::Value { key: key.to_owned(), place: place(), expected };
        let text = scalar(&value).ok_or_else(|| wrong("one value, not a list or table".into()))?;
        parse(text.trim()).map(Some).map_err(wrong)
    }

    /// Parses the value of a key that has a default.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let missing = || ConfigError::Value {
            key: key.to_owned(),
            place: "any layer".to_owned(),
            expected: "a value".to_owned(),
        };
        self.optional(key, parse)?.ok_or_else(missing)
    }

    /// The librdkafka properties. Their values may be secrets: no error shows one.
    pub(super) fn kafka(&self) -> Result<BTreeMap<String, String>, ConfigError> {
        let mut properties = BTreeMap::new();
        let Ok(section) = self.figment.find_value(KAFKA_SECTION) else { return Ok(properties) };
        let key = |property: &str| format!("{KAFKA_SECTION}.{property}");
        let Value::Dict(_, section) = section else {
            let (place, expected) = (self.place(KAFKA_SECTION, &section), "a table".to_owned());
            return Err(ConfigError::Value { key: KAFKA_SECTION.to_owned(), place, expected });
        };
        for (property, value) in section {
            let place = self.place(&key(&property), &value);
            if let Some(why) = kafka::refusal(&property) {
                return Err(ConfigError::Refused { key: key(&property), place, why });
            }
            let Some(text) = scalar(&value) else {
                let expected = "text, a number, true or false".to_owned();
                return Err(ConfigError::Value { key: key(&property), place, expected });
            };
            properties.insert(property, text);
        }
        Ok(properties)
    }

    fn check_section(&self, section: &str, entries: &Dict) -> Result<(), ConfigError> {
        for (name, value) in entries {
            self.check_known(&format!("{section}.{name}"), value)?;
        }
        Ok(())
    }

    fn check_known(&self, key: &str, value: &Value) -> Result<(), ConfigError> {
        if keys::find(key).is_some() {
            return Ok(());
        }
        let place = self.place(key, value);
        Err(ConfigError::Unknown { key: key.to_owned(), place, advice: advice(key) })
    }

    /// Where a value was set, in words.
    fn place(&self, key: &str, value: &Value) -> String {
        let Some(metadata) = self.figment.get_metadata(value.tag()) else {
            return "the defaults".to_owned();
        };
        match (&metadata.source, &*metadata.name, keys::find(key)) {
            (Some(Source::File(path)), _, _) => path.display().to_string(),
            (_, "environment", Some(key)) => format!("the environment ({})", key.variable()),
            (_, "environment", None) => "the environment".to_owned(),
            (_, "flag", Some(key)) => format!("flag {}", key.flag.unwrap_or(key.name)),
            (_, name, _) => name.to_owned(),
        }
    }
}

/// A single value as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Char(_, character) => Some(character.to_string()),
        Value::Bool(_, truth) => Some(truth.to_string()),
        Value::Num(_, Num::F32(number)) => Some(number.to_string()),
        Value::Num(_, Num::F64(number)) => Some(number.to_string()),
        Value::Num(_, number) => number
            .to_i128()
            .map(|number| number.to_string())
            .or_else(|| number.to_u128().map(|number| number.to_string())),
        Value::Empty(_, _) | Value::Dict(_, _) | Value::Array(_, _) => None,
    }
}

/// What may have been meant by a key that nobody knows.
fn advice(key: &str) -> String {
    let section = format!("{key}.");
    if KEYS.iter().any(|known| known.name.starts_with(&section)) {
        return format!("it is a section: write [{key}] and its keys below");
    }
    let written = key.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or(key).to_lowercase();
    let plain = |name: &str| name.replace(['.', '-'], "_");
    let near = KEYS.iter().find(|known| {
        let (known, written) = (plain(known.name), plain(&written));
        known.ends_with(&written) || written.ends_with(&known) || one_slip(&known, &written)
    });
    match near {
        Some(known) if key.starts_with(ENVIRONMENT_PREFIX) => {
            format!("did you mean {}?", known.variable())
        }
        Some(known) => format!("did you mean {}?", known.name),
        None => "docs/configuration.md lists every key; librdkafka's belong to [kafka]".to_owned(),
    }
}

/// Whether two names differ by one letter: another one, one more, one less.
fn one_slip(a: &str, b: &str) -> bool {
    let same_start = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let same_end = a.bytes().rev().zip(b.bytes().rev()).take_while(|(a, b)| a == b).count();
    let longer = a.len().max(b.len());
    a.len().abs_diff(b.len()) <= 1 && same_start + same_end + 1 >= longer
}
