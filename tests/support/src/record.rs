//! A record as a consumer of the outputs sees it.

use std::fmt;

use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Headers as _};

/// A record that was read from a topic.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The partition's number.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
    /// The key, as text.
    pub key: String,
    /// The value; none: a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The record's timestamp (Unix ms), where it has one.
    pub timestamp_ms: Option<i64>,
}

impl Record {
    /// A header's value as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().find(|(key, _)| key == name)?;
        Some(String::from_utf8_lossy(&found.1).into_owned())
    }

    /// Why it ended, where it is a tombstone.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.value.is_none().then(|| self.header("lethe-reason").unwrap_or_default())
    }
}

impl From<&BorrowedMessage<'_>> for Record {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            let own = |header: rdkafka::message::Header<'_, &[u8]>| {
                (header.key.to_owned(), header.value.unwrap_or_default().to_vec())
            };
            headers.iter().map(own).collect()
        });
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned(),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
            timestamp_ms: message.timestamp().to_millis(),
        }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<String> = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)))
            .collect();
        let value = self.value.as_ref().map_or_else(
            || "null".to_owned(),
            |value| format!("{:?}", String::from_utf8_lossy(value)),
        );
        write!(
            formatter,
            "{}/{} {} = {value} [{}]",
            self.partition,
            self.offset,
            self.key,
            headers.join(", ")
        )
    }
}
