//! Control records as a repository keeps them: JSON files, each an object from control key to value.
//!
//! ```json
//! {
//!   "tenant/acme": {"message": {"storage": "in", "retention": "30d"}},
//!   "terms/acme": {"transit_limit": "12h"}
//! }
//! ```
//!
//! A value of `null` withdraws. What the files do not name is left as it is, unless it is asked to go.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::book::{Book, Entry, Version};
use super::key::Kind;
use super::topic::{Change, Expected};

/// Files of a directory that are read.
const FILES_MAX: usize = 100_000;
/// The kinds that files govern whole: with `prune`, what they do not name is withdrawn.
const PRUNED: [Kind; 3] = [Kind::Tenant, Kind::Conversation, Kind::Terms];

/// Why a directory cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file or directory cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not a JSON object.
    #[error("{path}: not a JSON object from control key to value: {why}")]
    Json {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        why: serde_json::Error,
    },
    /// Two files speak of the same key.
    #[error("{key} is in {first} and in {second}")]
    Twice {
        /// The key.
        key: String,
        /// A file.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
    /// There are too many files.
    #[error("{0}: more than 100000 files")]
    Many(PathBuf),
}

/// What a file or the `.json` files of a directory (and those below it) say, by key.
///
/// # Errors
/// One cannot be read, or two contradict each other.
pub fn read(path: &Path) -> Result<BTreeMap<String, Value>, FilesError> {
    let mut wanted: BTreeMap<String, (PathBuf, Value)> = BTreeMap::new();
    for file in list(path)? {
        let text =
            fs::read(&file).map_err(|source| FilesError::Io { path: file.clone(), source })?;
        let records: BTreeMap<String, Value> = serde_json::from_slice(&text)
            .map_err(|why| FilesError::Json { path: file.clone(), why })?;
        for (key, value) in records {
            if let Some((first, _)) = wanted.insert(key.clone(), (file.clone(), value)) {
                return Err(FilesError::Twice { key, first, second: file });
            }
        }
    }
    Ok(wanted.into_iter().map(|(key, (_, value))| (key, value)).collect())
}

fn list(path: &Path) -> Result<Vec<PathBuf>, FilesError> {
    let failed = |source| FilesError::Io { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        for found in fs::read_dir(&directory).map_err(failed)? {
            let found = found.map_err(failed)?.path();
            if found.is_dir() {
                directories.push(found);
            } else if found.extension().is_some_and(|end| end == "json") {
                files.push(found);
            }
        }
        if files.len() > FILES_MAX {
            return Err(FilesError::Many(path.to_owned()));
        }
    }
    files.sort();
    Ok(files)
}

/// What has to change so that the topic says what the files say.
#[must_use]
pub fn changes(wanted: &BTreeMap<String, Value>, book: &Book, prune: bool) -> Vec<Change> {
    let mut changes: Vec<Change> = wanted
        .iter()
        .filter(|(key, value)| !says(book.get(key), value))
        .map(|(key, value)| Change {
            key: key.clone(),
            value: (!value.is_null()).then(|| value.to_string()),
            expected: Expected::last(book, key),
        })
        .collect();
    if prune {
        let there = PRUNED.iter().flat_map(|kind| book.beginning(kind.prefix()));
        let unnamed =
            |entry: &&Entry| !wanted.contains_key(&entry.key) && !says(Some(*entry), &Value::Null);
        changes.extend(there.filter(unnamed).map(|entry| Change {
            key: entry.key.clone(),
            value: None,
            expected: Expected::Offset(entry.offset),
        }));
    }
    changes
}

/// Whether the last word under a key is this value already. The safety catch may have given it a time: a record
/// that says nothing but a time withdraws the one before it then.
fn says(entry: Option<&Entry>, value: &Value) -> bool {
    let Some(entry) = entry else { return value.is_null() };
    let last = entry.waiting.as_ref().or(entry.in_force.as_ref());
    let is_same = |last: &Version| {
        let plain = last.without_time();
        let withdraws = last.value != plain && plain == Value::Object(Default::default());
        last.value == *value || plain == *value || (withdraws && value.is_null())
    };
    entry.refused.is_none() && last.map_or(value.is_null(), is_same)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use lethe_engine::ControlRecord;

    use super::*;

    fn book(records: &[(&str, &str)]) -> Book {
        let mut book = Book::default();
        for (offset, (key, value)) in (0..).zip(records) {
            let record = ControlRecord::parse(offset, 0, key.as_bytes(), Some(value.as_bytes()));
            book.add(&record);
        }
        book
    }

    fn said(changes: &[Change]) -> Vec<(&str, Option<&str>)> {
        changes.iter().map(|change| (change.key.as_str(), change.value.as_deref())).collect()
    }

    #[test]
    fn files_of_a_directory_are_one_wish_and_applied_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("more")).unwrap();
        fs::write(dir.path().join("a.json"), r#"{"tenant/a": {}, "terms/a": null}"#).unwrap();
        fs::write(dir.path().join("more/b.json"), r#"{"tenant/b": {"profile":{"storage":"in"}}}"#)
            .unwrap();
        fs::write(dir.path().join("README"), "not a record").unwrap();
        let wanted = read(dir.path()).unwrap();

        let empty = changes(&wanted, &Book::default(), false);
        let b = r#"{"profile":{"storage":"in"}}"#;
        assert_eq!(said(&empty), [("tenant/a", Some("{}")), ("tenant/b", Some(b))]);
        let applied = book(&[("tenant/a", "{}"), ("tenant/b", b), ("tenant/c", "{}")]);
        assert!(changes(&wanted, &applied, false).is_empty());
        assert_eq!(said(&changes(&wanted, &applied, true)), [("tenant/c", None)]);
    }

    #[test]
    fn what_the_safety_catch_lets_wait_is_applied_already() {
        let waiting = r#"{"profile":{"storage":"in"},"effective_at":"2030-01-01T00:00:00Z"}"#;
        let nothing = r#"{"effective_at":"2030-01-01T00:00:00Z"}"#;
        let applied = book(&[("tenant/a", "{}"), ("tenant/a", waiting), ("terms/b", nothing)]);
        let wanted = |value: &str| {
            BTreeMap::from([("tenant/a".to_owned(), serde_json::from_str(value).unwrap())])
        };
        assert!(changes(&wanted(r#"{"profile":{"storage":"in"}}"#), &applied, true).is_empty());
        // Back to what is in force supersedes what waits.
        let back = changes(&wanted("{}"), &applied, true);
        assert_eq!(said(&back), [("tenant/a", Some("{}"))]);
    }

    #[test]
    fn a_key_in_two_files_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.json", "b.json"] {
            fs::write(dir.path().join(name), r#"{"tenant/a": {}}"#).unwrap();
        }
        assert!(matches!(read(dir.path()), Err(FilesError::Twice { .. })));
    }
}
