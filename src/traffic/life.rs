//! Everything that will happen to one message, profile or config item, planned ahead.
//!
//! The plan holds what the bus will say, and beside it the plain facts, from which whoever knows the
//! tenant's policy can tell what must come out. It knows nothing of policies itself, but two bounds:
//! its events come within [`LIFE_MS_MAX`], and those that must find the thing alive within [`ACTIVE_MS_MAX`].

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use lethe_engine::Class;
use lethe_proto::v1;
use lethe_proto::v1::message_event::Event;

use super::event::{self, MessageId, Record, record_key};
use super::random::Random;
use super::shape::{Content, Conversation};

/// What ends or changes a thing happens within this time of its birth.
pub const ACTIVE_MS_MAX: i64 = 2_500;
/// The last event of a life, a duplicate that has to be passed over, comes within this time.
pub const LIFE_MS_MAX: i64 = 5_000;

/// An event that is still to come.
#[derive(Clone, PartialEq, Eq)]
pub struct Planned {
    /// When it is produced (Unix ms).
    pub at_ms: i64,
    /// What is produced.
    pub record: Record,
}

/// One message, profile or config item.
#[derive(Clone, PartialEq, Eq)]
pub struct Life {
    /// What it is.
    pub class: Class,
    /// Its record key on the outputs.
    pub key: String,
    /// The message's conversation.
    pub conversation: Option<String>,
    /// Its sent time, or that of its newest version (Unix ms): what retention counts from.
    pub time_ms: i64,
    /// Its own time to live; 0: none.
    pub ttl_ms: i64,
    /// Hashes ([`hash`]) of the values that are content for the first time, in order.
    pub contents: Vec<u64>,
    /// It was recalled before its content came.
    pub recalled_early: bool,
    /// Everyone had it before its content came.
    pub delivered_early: bool,
    /// When it is recalled or removed, after its content (Unix ms).
    pub recalled_ms: Option<i64>,
    /// When the last recipient has it (Unix ms).
    pub delivered_ms: Option<i64>,
    /// What is to be produced, in any order.
    pub events: Vec<Planned>,
}

/// The identity of a value that the outputs must carry byte for byte.
#[must_use]
pub fn hash(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Plans lives, by this randomness and with this content.
pub struct Plans {
    /// Where chance comes from.
    pub random: Random,
    /// What content is made of.
    pub content: Content,
}

/// What becomes of a message on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Delivered,
    Edited,
    DeliveredEarly,
    Undelivered,
    Recalled,
    RecalledEarly,
    Burned,
}

/// Fates and how many of a hundred messages have them.
const FATES: [(Fate, u64); 7] = [
    (Fate::Delivered, 66),
    (Fate::Edited, 5),
    (Fate::DeliveredEarly, 4),
    (Fate::Undelivered, 8),
    (Fate::Recalled, 7),
    (Fate::RecalledEarly, 4),
    (Fate::Burned, 6),
];
/// So many of a hundred things have an event twice.
const DUPLICATE_PERCENT: u32 = 10;

impl Plans {
    /// A message sent now. `calm`: nothing that changes it later, and it always ends by an event.
    pub fn message(
        &mut self,
        tenant: &str,
        conversation: &Conversation,
        now_ms: i64,
        calm: bool,
    ) -> Life {
        let fate = self.fate();
        let unsettled = matches!(fate, Fate::Edited | Fate::Undelivered);
        let fate = if calm && unsettled { Fate::Delivered } else { fate };
        let id = MessageId {
            tenant: tenant.to_owned(),
            conversation: conversation.id.clone(),
            message: (10_000_000 + self.random.below(999_989_990_000_000)).to_string(),
            sent_at_ms: now_ms,
        };
        let mut life = Life::new(Class::Message, id.record_key(), now_ms);
        life.conversation = Some(conversation.id.clone());
        self.send(&mut life, &id, conversation, fate);
        self.reach(&mut life, &id, conversation, fate);
        life
    }

    fn fate(&mut self) -> Fate {
        let mut roll = self.random.below(FATES.iter().map(|(_, share)| share).sum());
        for (fate, share) in FATES {
            if roll < share {
                return fate;
            }
            roll -= share;
        }
        Fate::Delivered
    }

    /// Plans the message's content: the original, a duplicate, an edit.
    fn send(&mut self, life: &mut Life, id: &MessageId, to: &Conversation, fate: Fate) {
        let now_ms = id.sent_at_ms;
        if fate == Fate::Burned {
            life.ttl_ms = i64::from(self.random.between(2_600, 3_500));
        }
        let sent = to.sent(&mut self.random, life.ttl_ms);
        let late = matches!(fate, Fate::DeliveredEarly | Fate::RecalledEarly);
        let at_ms = if late { now_ms + self.after(900, 1_400) } else { now_ms };
        let content = self.content.of_kind(&mut self.random, sent.kind);
        let record = id.event(Event::Sent(sent.clone()), &content);
        life.contents.push(hash(&record.value));
        if self.random.percent(DUPLICATE_PERCENT) {
            life.plan(now_ms + self.after(1_500, LIFE_MS_MAX), record.clone());
        }
        life.plan(at_ms, record);
        if fate == Fate::Edited {
            let edited_at_ms = now_ms + self.after(200, 800);
            let content = self.content.of_kind(&mut self.random, sent.kind);
            let edited = v1::Edited { edited_at_ms, sent: Some(sent) };
            let record = id.event(Event::Edited(edited), &content);
            life.contents.push(hash(&record.value));
            life.plan(edited_at_ms, record);
        }
    }

    /// Plans whom the message reaches, and whether it is taken back.
    fn reach(&mut self, life: &mut Life, id: &MessageId, to: &Conversation, fate: Fate) {
        let now_ms = id.sent_at_ms;
        match fate {
            Fate::Delivered => self.deliver(life, id, to, 50, ACTIVE_MS_MAX),
            Fate::Edited => self.deliver(life, id, to, 1_200, ACTIVE_MS_MAX),
            Fate::DeliveredEarly => {
                self.deliver(life, id, to, 100, 700);
                life.delivered_early = true;
            }
            // In a group everyone but one has it; one to one, nobody.
            Fate::Undelivered | Fate::Burned => self.deliver_partly(life, id, to, 2),
            Fate::Recalled => {
                self.deliver_partly(life, id, to, 2);
                let at_ms = now_ms + self.after(400, ACTIVE_MS_MAX);
                life.recalled_ms = Some(at_ms);
                life.plan(at_ms, id.recalled(to.member(0)));
            }
            Fate::RecalledEarly => {
                life.recalled_early = true;
                life.plan(now_ms + self.after(100, 700), id.recalled(to.member(0)));
            }
        }
    }

    /// Plans that everyone has it, the last one between these times after it was sent.
    fn deliver(
        &mut self,
        life: &mut Life,
        id: &MessageId,
        to: &Conversation,
        min_ms: i64,
        max_ms: i64,
    ) {
        /// Buses tell of large groups at once.
        const AT_ONCE_PERCENT: u32 = 20;
        const READ_PERCENT: u32 = 30;
        let last_ms = id.sent_at_ms + self.after(min_ms, max_ms);
        life.delivered_ms = Some(last_ms);
        if to.members > 2 && self.random.percent(AT_ONCE_PERCENT) {
            life.plan(last_ms, id.delivered_to_all());
            return;
        }
        for number in 1..to.members {
            let is_last = number + 1 == to.members;
            let at_ms = if is_last {
                last_ms
            } else {
                id.sent_at_ms + self.after(min_ms, max_ms).min(last_ms - id.sent_at_ms)
            };
            let user = to.member(number);
            if self.random.percent(DUPLICATE_PERCENT) {
                life.plan(at_ms, id.delivered(user.clone()));
            }
            // Who read it has it, also where the bus forgot to say so.
            let record =
                if self.random.percent(READ_PERCENT) { id.read(user) } else { id.delivered(user) };
            life.plan(at_ms, record);
        }
    }

    /// Plans that everyone from a member on has it.
    fn deliver_partly(&mut self, life: &mut Life, id: &MessageId, to: &Conversation, from: u32) {
        for number in from..to.members {
            life.plan(
                id.sent_at_ms + self.after(50, ACTIVE_MS_MAX),
                id.delivered(to.member(number)),
            );
        }
    }

    /// A user's profile: some versions, then perhaps its removal. `calm`: one version, removed.
    pub fn profile(&mut self, tenant: &str, now_ms: i64, calm: bool) -> Life {
        let user = format!("user-{}", 10_000_000 + self.random.below(9_999_990_000_000));
        let versions = if calm { 1 } else { self.random.between(1, 3) };
        let removed = calm || self.random.percent(30);
        let record = |at_ms, content: Option<&[u8]>| event::profile(tenant, &user, at_ms, content);
        self.versions(
            Class::Profile,
            record_key(&[tenant, &user]),
            now_ms,
            versions,
            removed,
            record,
        )
    }

    /// A config item: one or two versions, sometimes its removal. `calm`: one version that stays.
    pub fn config(&mut self, tenant: &str, now_ms: i64, calm: bool) -> Life {
        let item = format!("callback-{}", 10_000_000 + self.random.below(9_999_990_000_000));
        let versions = if calm { 1 } else { self.random.between(1, 2) };
        let removed = !calm && self.random.percent(20);
        let record = |at_ms, content: Option<&[u8]>| event::config(tenant, &item, at_ms, content);
        self.versions(
            Class::Config,
            record_key(&[tenant, &item]),
            now_ms,
            versions,
            removed,
            record,
        )
    }

    fn versions(
        &mut self,
        class: Class,
        key: String,
        now_ms: i64,
        versions: u32,
        removed: bool,
        record: impl Fn(i64, Option<&[u8]>) -> Record,
    ) -> Life {
        let mut life = Life::new(class, key, now_ms);
        for version in 0..versions {
            let at_ms = now_ms + i64::from(version) * self.after(400, 700);
            let at_ms = at_ms.max(life.time_ms + i64::from(version.min(1)));
            let bytes = self.random.between(40, 200);
            let content = self.content.of_size(&mut self.random, bytes);
            let version = record(at_ms, Some(&content));
            life.contents.push(hash(&version.value));
            if self.random.percent(DUPLICATE_PERCENT) {
                life.plan(at_ms + 1, version.clone());
            }
            life.plan(at_ms, version);
            life.time_ms = at_ms;
        }
        if removed {
            let at_ms = life.time_ms + self.after(300, 900);
            life.recalled_ms = Some(at_ms);
            life.plan(at_ms, record(at_ms, None));
        }
        life
    }

    fn after(&mut self, min_ms: i64, max_ms: i64) -> i64 {
        let span = u64::try_from(max_ms - min_ms + 1).unwrap_or(1);
        min_ms + i64::try_from(self.random.below(span)).unwrap_or(0)
    }
}

impl Life {
    fn new(class: Class, key: String, time_ms: i64) -> Self {
        Self {
            class,
            key,
            conversation: None,
            time_ms,
            ttl_ms: 0,
            contents: Vec::new(),
            recalled_early: false,
            delivered_early: false,
            recalled_ms: None,
            delivered_ms: None,
            events: Vec::new(),
        }
    }

    fn plan(&mut self, at_ms: i64, record: Record) {
        self.events.push(Planned { at_ms, record });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lives(seed: u64) -> Vec<Life> {
        let content = Content::new("marker".to_owned());
        let mut plans = Plans { random: Random::new(seed), content };
        let group = Conversation { id: "group/1".to_owned(), members: 5 };
        (0..500)
            .flat_map(|now_ms| {
                let message = plans.message("t", &group, now_ms, false);
                [message, plans.profile("t", now_ms, false), plans.config("t", now_ms, false)]
            })
            .collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_lives() {
        assert!(lives(1) == lives(1));
        assert!(lives(1) != lives(2));
    }

    #[test]
    fn events_keep_their_bounds_and_content_its_marker() {
        for life in lives(3) {
            let born_ms = life.events.iter().map(|event| event.at_ms).min().unwrap_or(0);
            for event in &life.events {
                assert!(event.at_ms - born_ms <= LIFE_MS_MAX, "{}", life.key);
            }
            for at_ms in [life.recalled_ms, life.delivered_ms].into_iter().flatten() {
                assert!(at_ms - life.time_ms <= ACTIVE_MS_MAX, "{}", life.key);
            }
            let with_content = life
                .events
                .iter()
                .filter(|event| event.record.value.windows(6).any(|window| window == b"marker"));
            assert!(with_content.count() >= life.contents.len(), "{}", life.key);
        }
    }

    #[test]
    fn versions_follow_each_other() {
        for life in lives(4).into_iter().filter(|life| life.class != Class::Message) {
            let mut times: Vec<i64> = life.events.iter().map(|event| event.at_ms).collect();
            times.sort_unstable();
            assert!(times.last().is_some_and(|&last_ms| last_ms - life.time_ms <= ACTIVE_MS_MAX));
            assert!(life.recalled_ms.is_none_or(|removed_ms| removed_ms > life.time_ms));
        }
    }
}
