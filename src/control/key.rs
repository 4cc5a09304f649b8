//! The keys of control records.

use lethe_engine::ledger::key::push_part;

/// The beginning of the keys of a kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tenant's choice.
    Tenant,
    /// A conversation's retention.
    Conversation,
    /// What the operator agreed with a tenant.
    Terms,
    /// A legal hold.
    Hold,
    /// An erasure request.
    Erasure,
    /// A replay.
    Replay,
}

impl Kind {
    /// What its keys begin with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Tenant => "tenant/",
            Self::Conversation => "conversation/",
            Self::Terms => "terms/",
            Self::Hold => "hold/",
            Self::Erasure => "erasure/",
            Self::Replay => "replay/",
        }
    }

    /// The kind of a record with this key.
    #[must_use]
    pub fn of(key: &str) -> Option<Self> {
        let all = [
            Self::Tenant,
            Self::Conversation,
            Self::Terms,
            Self::Hold,
            Self::Erasure,
            Self::Replay,
        ];
        all.into_iter().find(|kind| key.starts_with(kind.prefix()))
    }

    /// The key of one of its records: of a tenant, a request, or a tenant and its conversation.
    #[must_use]
    pub fn key(self, parts: &[&str]) -> String {
        let mut key = self.prefix().to_owned();
        for (number, part) in parts.iter().enumerate() {
            if number > 0 {
                key.push('/');
            }
            push_part(&mut key, part);
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of a key behind its kind, decoded.
    fn parts(key: &str) -> Vec<String> {
        let parts = key.split('/').skip(1);
        parts.map(|part| part.replace("%2F", "/").replace("%25", "%")).collect()
    }

    #[test]
    fn parts_are_encoded_and_decoded() {
        let key = Kind::Conversation.key(&["a/b", "100%2F"]);
        assert_eq!(key, "conversation/a%2Fb/100%252F");
        assert_eq!(parts(&key), ["a/b", "100%2F"]);
        assert_eq!(Kind::Hold.key(&["case-7"]), "hold/case-7");
    }
}
