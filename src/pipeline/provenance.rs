//! Of which topics a delta speaks, and which group has written it: the ids of the input and of the control
//! topic and the group's name, as the key of its records. Offsets mean nothing on a topic that was deleted and
//! made anew; and nothing keeps the transactions of two groups apart.
//!
//! The key is text, `lethe/1 input=ID control=ID group=NAME`; an id that the broker does not tell is left out.
//! What is not known is not compared.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// The first word of the key: the format's version.
const FORMAT: &str = "lethe/1";
const INPUT: &str = "input";
const CONTROL: &str = "control";
const GROUP: &str = "group";
/// What would end a word.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// The ids of the topics whose offsets a delta carries, and its group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Provenance {
    /// Of the input topic.
    pub(super) input: Option<String>,
    /// Of the control topic.
    pub(super) control: Option<String>,
    /// The group that has written it.
    pub(super) group: Option<String>,
}

impl Provenance {
    /// The key of a delta's records.
    pub(super) fn key(&self) -> Vec<u8> {
        let mut key = FORMAT.to_owned();
        for (name, id) in [(INPUT, &self.input), (CONTROL, &self.control)] {
            if let Some(id) = id {
                key.push(' ');
                key.push_str(name);
                key.push('=');
                key.push_str(id);
            }
        }
        if let Some(group) = &self.group {
            key.push_str(&format!(" {GROUP}={}", utf8_percent_encode(group, ENCODED)));
        }
        key.into_bytes()
    }

    /// Reads a key. One of another format tells nothing.
    pub(super) fn read(key: Option<&[u8]>) -> Self {
        let text = key.and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
        let mut words = text.split(' ');
        let mut read = Self::default();
        if words.next() != Some(FORMAT) {
            return read;
        }
        for (name, id) in words.filter_map(|word| word.split_once('=')) {
            match name {
                INPUT => read.input = Some(id.to_owned()),
                CONTROL => read.control = Some(id.to_owned()),
                GROUP => read.group = Some(percent_decode_str(id).decode_utf8_lossy().into_owned()),
                _ => {}
            }
        }
        read
    }
}

/// Whether both ids are known, and differ.
pub(super) fn differs(before: Option<&String>, now: Option<&String>) -> bool {
    matches!((before, now), (Some(before), Some(now)) if before != now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_it_was_told_and_other_keys_say_nothing() {
        let ids =
            Provenance { input: Some("in-1".into()), control: Some("c_2".into()), group: None };
        assert_eq!(ids.key(), b"lethe/1 input=in-1 control=c_2");
        assert_eq!(Provenance::read(Some(&ids.key())), ids);
        let all = Provenance { group: Some("a group=100%".into()), ..ids };
        assert_eq!(all.key(), b"lethe/1 input=in-1 control=c_2 group=a%20group=100%25");
        assert_eq!(Provenance::read(Some(&all.key())), all);
        let none = Provenance::default();
        assert_eq!(none.key(), b"lethe/1");
        assert_eq!(Provenance::read(Some(&none.key())), none);
        assert_eq!(Provenance::read(None), none);
        assert_eq!(Provenance::read(Some(b"lethe/2 input=x")), none);
    }

    #[test]
    fn what_is_not_known_does_not_differ() {
        let (a, b) = ("a".to_owned(), "b".to_owned());
        assert!(differs(Some(&a), Some(&b)));
        assert!(!differs(Some(&a), Some(&a)));
        assert!(!differs(None, Some(&b)));
        assert!(!differs(Some(&a), None));
    }
}
