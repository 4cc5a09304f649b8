//! What messages look like: who talks with whom, of which kind they are, how large.

use lethe_proto::v1::{Kind, Sent};

use super::random::Random;
use super::tenant::Tenant;

/// A conversation: its members' number decides how many recipients a message has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Its id.
    pub id: String,
    /// How many users are in it, the sender included.
    pub members: u32,
}

/// The conversations of one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversations {
    list: Vec<Conversation>,
}

/// The largest group.
const GROUP_MEMBERS_MAX: u32 = 12;
/// So many of a hundred conversations are groups.
const GROUP_PERCENT: u32 = 25;

impl Conversations {
    /// Makes a tenant's conversations; the one with a retention of its own is among them.
    #[must_use]
    pub fn new(random: &mut Random, tenant: &Tenant, count: u32) -> Self {
        let own = tenant.conversation.as_ref().map(|(id, _)| id.clone());
        let mut list: Vec<_> = own.into_iter().map(|id| Conversation { id, members: 2 }).collect();
        for _ in list.len()..usize::try_from(count.max(1)).unwrap_or(usize::MAX) {
            let number = 10_000_000 + random.below(9_999_990_000_000);
            // Ids are free text on the bus: some carry the signs that record keys encode.
            list.push(if random.percent(GROUP_PERCENT) {
                let members = random.between(3, GROUP_MEMBERS_MAX);
                Conversation { id: format!("group/{number}"), members }
            } else {
                Conversation { id: format!("c2c-{number}"), members: 2 }
            });
        }
        Self { list }
    }

    /// One of them.
    pub fn pick(&self, random: &mut Random) -> Option<&Conversation> {
        random.pick(&self.list)
    }
}

impl Conversation {
    /// The id of a member; the first one sends.
    #[must_use]
    pub fn member(&self, number: u32) -> String {
        format!("user-{number}-of-{}", self.id)
    }

    /// A message in it, as its sender describes it.
    pub fn sent(&self, random: &mut Random, ttl_ms: i64) -> Sent {
        const KINDS: [Kind; 10] = [
            Kind::Text,
            Kind::Text,
            Kind::Text,
            Kind::Text,
            Kind::Picture,
            Kind::Audio,
            Kind::Video,
            Kind::File,
            Kind::Face,
            Kind::Custom,
        ];
        let kind = random.pick(&KINDS).copied().unwrap_or(Kind::Text);
        Sent {
            sender: self.member(0),
            kind: kind.into(),
            recipients: self.members.saturating_sub(1),
            ttl_ms,
        }
    }
}

/// Makes content: the marker, then text as long as the kind of message has it.
#[derive(Clone, Debug)]
pub struct Content {
    marker: String,
}

impl Content {
    /// All content will carry this marker.
    #[must_use]
    pub fn new(marker: String) -> Self {
        Self { marker }
    }

    /// What all content carries.
    #[must_use]
    pub fn marker(&self) -> &str {
        &self.marker
    }

    /// The content of a message of a kind: what the bus carries of it is a text or a description
    /// with a small preview.
    pub fn of_kind(&self, random: &mut Random, kind: i32) -> Vec<u8> {
        let (min, max) = match Kind::try_from(kind).unwrap_or(Kind::Unspecified) {
            Kind::Unspecified | Kind::Text | Kind::Face => (8, 320),
            Kind::Picture | Kind::Video => (400, 900),
            Kind::Audio | Kind::File | Kind::Location => (120, 400),
            Kind::Custom => (60, 700),
        };
        let bytes = random.between(min, max);
        self.of_size(random, bytes)
    }

    /// Content of so many bytes after the marker.
    pub fn of_size(&self, random: &mut Random, bytes: u32) -> Vec<u8> {
        let mut content = self.marker.clone().into_bytes();
        let start = content.len();
        content.resize(start + usize::try_from(bytes).unwrap_or(0), 0);
        if let Some(text) = content.get_mut(start..) {
            random.text(text);
        }
        content
    }
}
