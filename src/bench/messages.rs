//! The load, record by record: messages, whom they reach, and what else becomes of them.
//!
//! Pure: the seed and the time are arguments. The same seed gives the same messages but for their times.

use std::collections::VecDeque;

use lethe_proto::v1::message_event::Event;
use lethe_proto::v1::{self, Sent};
use serde_json::json;

use crate::traffic::{
    Choice, Content, Control, Conversation, MessageId, Random, Record, Tenant, record_key,
};

/// What follows a message (a delivery, an edit, a recall) comes when so many others wait.
const FOLLOWS_AFTER: usize = 1_000;
/// What nothing of the load outlives: it is measured while all of it lives.
pub(super) const RETENTION_S: u32 = 7 * 24 * 60 * 60;
/// The retention of a conversation that has one of its own.
const OWN_RETENTION_S: u32 = 30 * 24 * 60 * 60;
/// So many of a hundred conversations are groups.
const GROUP_PERCENT: u32 = 25;
/// The largest group.
const GROUP_MEMBERS_MAX: u32 = 12;
/// Ids are numbers of so many random digits, as the bus makes them.
const DIGITS_MIN: u32 = 8;
/// See [`DIGITS_MIN`].
const DIGITS_MAX: u32 = 12;

/// How much content a message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// So many bytes.
    Bytes(u32),
    /// As much as its kind usually has.
    OfKind,
}

/// What a load is like.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Messages; each is one record sent, and what follows it.
    pub messages: u64,
    /// Each is delivered to everyone in its conversation, one record a user.
    pub delivered: bool,
    /// Conversations of more than two deliver to all their members, not to one.
    pub groups: bool,
    /// So many of a hundred messages are edited.
    pub edited_percent: u32,
    /// So many of a hundred messages are recalled.
    pub recalled_percent: u32,
    /// How large they are.
    pub size: Size,
    /// Tenants.
    pub tenants: u32,
    /// How many of them opted in.
    pub opted_in: u32,
    /// How uneven they are: see [`Tenant::crowd`].
    pub skew: f64,
    /// Conversations of each tenant.
    pub conversations: u32,
    /// How many of them have a retention of their own, where the tenant opted in.
    pub overrides: u32,
    /// Legal holds, each on a conversation of an opted-in tenant.
    pub holds: u32,
    /// How many messages of the same tenants and conversations there were before.
    pub first: u64,
    /// The seed.
    pub seed: u64,
}

impl Default for Shape {
    /// The load that figures are compared by.
    fn default() -> Self {
        Self {
            messages: 1_000_000,
            delivered: true,
            groups: false,
            edited_percent: 0,
            recalled_percent: 0,
            size: Size::Bytes(512),
            tenants: 100,
            opted_in: 70,
            skew: 1.0,
            conversations: 100,
            overrides: 0,
            holds: 0,
            first: 0,
            seed: 1,
        }
    }
}

impl Shape {
    fn crowd(&self) -> Vec<Tenant> {
        Tenant::crowd(self.tenants, self.opted_in, self.skew, RETENTION_S)
    }

    /// What the tenants and their operator said.
    pub fn controls(&self) -> impl Iterator<Item = Control> {
        let (shape, tenants) = (self.clone(), self.crowd());
        let choices: Vec<Control> = tenants.iter().flat_map(Tenant::controls).collect();
        let inside: Vec<(usize, Tenant)> = tenants
            .into_iter()
            .enumerate()
            .filter(|(_, tenant)| matches!(tenant.choice, Some((Choice::In { .. }, _))))
            .collect();
        let overrides = self.overrides.min(self.conversations);
        let own: Vec<Control> = inside
            .iter()
            .flat_map(|(rank, tenant)| {
                let key = |number| {
                    let id = shape.conversation(*rank, number).id;
                    record_key(&["conversation", &tenant.name, &id])
                };
                let value = json!({ "retention": format!("{OWN_RETENTION_S}s") }).to_string();
                (0..overrides).map(move |number| Control { key: key(number), value: value.clone() })
            })
            .collect();
        let held = inside.iter().cycle().zip(0..self.holds).map(|((rank, tenant), number)| {
            let conversation = shape.conversation(*rank, number % self.conversations.max(1)).id;
            let scope =
                json!({ "tenant": tenant.name, "conversation": conversation, "reason": "bench" });
            Control { key: format!("hold/bench-{number}"), value: scope.to_string() }
        });
        let held: Vec<Control> = held.collect();
        choices.into_iter().chain(own).chain(held)
    }

    /// Who sends the messages of a tenant's conversation.
    pub(super) fn sender(&self, tenant: usize, conversation: u32) -> String {
        self.conversation(tenant, conversation).member(0)
    }

    /// A tenant's conversation: made anew each time it is needed, since there can be millions.
    fn conversation(&self, tenant: usize, number: u32) -> Conversation {
        // Mixed, so that two seeds have no conversation in common.
        let seed = Random::new(self.seed).number();
        let mut random = Random::new(seed ^ (((tenant as u64) << 32) | u64::from(number)));
        let digits = random.between(DIGITS_MIN, DIGITS_MAX);
        let id = number_of(digits, random.number());
        // Ids are free text on the bus: some carry the signs that record keys encode.
        if random.percent(GROUP_PERCENT) {
            let members = random.between(3, GROUP_MEMBERS_MAX);
            Conversation { id: format!("group/{id}"), members }
        } else {
            Conversation { id: format!("c2c-{id}"), members: 2 }
        }
    }
}

/// A number of so many digits.
fn number_of(digits: u32, random: u64) -> u64 {
    let least = 10_u64.pow(digits.clamp(1, DIGITS_MAX) - 1);
    least + random % (9 * least)
}

/// A message's id: numbers of 8 to 12 digits that look random and differ for different messages.
fn message_id(message: u64) -> u64 {
    /// Shares no divisor with 9 × 10^n, so that its multiples meet every number of so many digits.
    const STEP: u128 = 15_485_863_000_000_133;
    let lengths = u64::from(DIGITS_MAX - DIGITS_MIN + 1);
    let digits = DIGITS_MIN + u32::try_from(message % lengths).unwrap_or_default();
    let span = 9 * 10_u128.pow(digits - 1);
    let number = u128::from(message / lengths) * STEP % span;
    number_of(digits, u64::try_from(number).unwrap_or_default())
}

/// The load, record by record.
pub struct Messages {
    shape: Shape,
    random: Random,
    /// Apart, so that the size of contents changes nothing else.
    texts: Random,
    content: Content,
    tenants: Vec<Tenant>,
    /// The sum of the tenants' weights up to each.
    weights: Vec<u64>,
    sent: u64,
    /// Events that follow a message.
    waiting: VecDeque<(MessageId, Follow)>,
}

/// What follows a message.
enum Follow {
    Delivered(String),
    Edited(Sent),
    Recalled(String),
}

impl Messages {
    /// The load of this shape.
    #[must_use]
    pub fn new(shape: &Shape) -> Self {
        let tenants = shape.crowd();
        let mut sum = 0;
        let upto = tenants.iter().map(|tenant| {
            sum += u64::from(tenant.weight);
            sum
        });
        Self {
            weights: upto.collect(),
            // What follows is other than what came before.
            random: Random::new(
                Random::new(shape.seed).number() ^ Random::new(shape.first).number(),
            ),
            texts: Random::new(!shape.seed),
            content: Content::new(String::new()),
            tenants,
            sent: 0,
            waiting: VecDeque::with_capacity(FOLLOWS_AFTER + 1),
            shape: shape.clone(),
        }
    }

    /// The next record, at this time (Unix ms); none: that was all.
    pub fn next_record(&mut self, now_ms: i64) -> Option<Record> {
        let over = self.sent == self.shape.messages;
        if over || self.waiting.len() > FOLLOWS_AFTER {
            let (id, follow) = self.waiting.pop_front()?;
            return Some(self.follow(&id, follow, now_ms));
        }
        self.send(now_ms)
    }

    fn follow(&mut self, id: &MessageId, follow: Follow, now_ms: i64) -> Record {
        match follow {
            Follow::Delivered(user) => id.delivered(user),
            Follow::Recalled(by) => id.recalled(by),
            Follow::Edited(sent) => {
                let content = self.content(sent.kind);
                let edited = v1::Edited { edited_at_ms: now_ms, sent: Some(sent) };
                id.event(Event::Edited(edited), &content)
            }
        }
    }

    fn send(&mut self, now_ms: i64) -> Option<Record> {
        let roll = self.random.below(self.weights.last().copied().unwrap_or_default());
        let rank = self.weights.partition_point(|upto| *upto <= roll);
        let number = self.random.below(u64::from(self.shape.conversations.max(1)));
        let mut talk = self.shape.conversation(rank, u32::try_from(number).ok()?);
        if !self.shape.groups {
            talk.members = 2;
        }
        let id = MessageId {
            tenant: self.tenants.get(rank)?.name.clone(),
            conversation: talk.id.clone(),
            message: message_id(self.shape.first + self.sent).to_string(),
            sent_at_ms: now_ms,
        };
        let sent = talk.sent(&mut self.random, 0);
        let content = self.content(sent.kind);
        let record = id.event(Event::Sent(sent.clone()), &content);
        self.sent += 1;
        self.plan(id, &talk, sent);
        Some(record)
    }

    /// What follows a message.
    fn plan(&mut self, id: MessageId, talk: &Conversation, sent: Sent) {
        if self.shape.edited_percent > 0 && self.random.percent(self.shape.edited_percent) {
            self.waiting.push_back((id.clone(), Follow::Edited(sent)));
        }
        if self.shape.delivered {
            for number in 1..talk.members {
                self.waiting.push_back((id.clone(), Follow::Delivered(talk.member(number))));
            }
        }
        if self.shape.recalled_percent > 0 && self.random.percent(self.shape.recalled_percent) {
            self.waiting.push_back((id, Follow::Recalled(talk.member(0))));
        }
    }

    fn content(&mut self, kind: i32) -> Vec<u8> {
        match self.shape.size {
            Size::Bytes(bytes) => self.content.of_size(&mut self.texts, bytes),
            Size::OfKind => self.content.of_kind(&mut self.texts, kind),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test is the point")]

    use std::collections::{BTreeMap, BTreeSet};

    use lethe_engine::{Class, ControlRecord};
    use prost::Message as _;

    use super::*;

    fn small() -> Shape {
        let (tenants, opted_in, size) = (10, 7, Size::Bytes(64));
        Shape { messages: 3_000, tenants, opted_in, size, ..Shape::default() }
    }

    fn events(shape: &Shape) -> Vec<v1::MessageEvent> {
        let mut messages = Messages::new(shape);
        let records = std::iter::from_fn(|| messages.next_record(7));
        records.map(|record| v1::MessageEvent::decode(&*record.value).unwrap()).collect()
    }

    fn count(events: &[v1::MessageEvent], of: fn(&Event) -> bool) -> usize {
        events.iter().filter(|event| event.event.as_ref().is_some_and(of)).count()
    }

    #[test]
    fn each_message_is_sent_and_then_delivered() {
        let events = events(&small());
        assert_eq!(events.len(), 6_000);
        assert_eq!(count(&events, |event| matches!(event, Event::Delivered(_))), 3_000);
        let mut sent = BTreeSet::new();
        for event in events {
            let id = (event.tenant, event.conversation, event.message);
            if let Some(Event::Sent(_)) = event.event {
                assert!(sent.insert(id), "every id is another");
            } else {
                assert!(sent.contains(&id), "sent before it is delivered");
            }
        }
    }

    #[test]
    fn a_group_delivers_to_each_of_its_members() {
        let events = events(&Shape { groups: true, ..small() });
        let mut recipients: BTreeMap<String, u32> = BTreeMap::new();
        for event in &events {
            let left = recipients.entry(event.message.clone()).or_default();
            if let Some(Event::Sent(sent)) = &event.event {
                *left += sent.recipients;
            } else {
                *left -= 1;
            }
        }
        assert!(events.len() > 9_000 && recipients.values().all(|&left| left == 0));
    }

    #[test]
    fn some_are_edited_and_some_recalled() {
        let shape = Shape { edited_percent: 10, recalled_percent: 20, ..small() };
        let events = events(&shape);
        let edited = count(&events, |event| matches!(event, Event::Edited(_)));
        let recalled = count(&events, |event| matches!(event, Event::Recalled(_)));
        assert!((200..400).contains(&edited) && (450..750).contains(&recalled));
        assert_eq!(events.len(), 6_000 + edited + recalled);
    }

    #[test]
    fn ids_are_numbers_of_eight_to_twelve_digits() {
        let mut lengths = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for message in (0..200_000).chain(50_000_000..50_200_000) {
            let id = message_id(message);
            lengths.insert(id.to_string().len());
            assert!(ids.insert(id));
        }
        assert_eq!(lengths, BTreeSet::from([8, 9, 10, 11, 12]));
    }

    #[test]
    fn a_seed_gives_the_same_messages() {
        assert_eq!(events(&small()), events(&small()));
        assert_ne!(events(&small()), events(&Shape { seed: 2, ..small() }));
    }

    #[test]
    fn a_load_goes_on_in_the_same_conversations_with_other_messages() {
        let of = |shape| -> (BTreeSet<String>, BTreeSet<String>) {
            let events = events(&shape).into_iter();
            events.map(|event| (event.conversation, event.message)).unzip()
        };
        let (before, after) = (of(small()), of(Shape { first: 3_000, ..small() }));
        assert!(before.0.intersection(&after.0).count() > before.0.len() / 2);
        assert!(before.1.is_disjoint(&after.1));
    }

    #[test]
    fn overrides_and_holds_are_valid_and_about_the_traffic() {
        let shape = Shape { overrides: 3, holds: 20, conversations: 5, ..small() };
        let controls: Vec<Control> = shape.controls().collect();
        assert_eq!(controls.len(), 10 + 7 * 3 + 20);
        for Control { key, value } in &controls {
            let record = ControlRecord::parse(0, 0, key.as_bytes(), Some(value.as_bytes()));
            assert_eq!(record.refusal(), None, "{key} {value}");
        }
        let events = events(&shape);
        let talked: BTreeSet<String> = events
            .iter()
            .map(|event| record_key(&["conversation", &event.tenant, &event.conversation]))
            .collect();
        let own = controls.iter().filter(|control| control.key.starts_with("conversation/"));
        assert!(
            own.clone().count() == 21 && own.filter(|own| talked.contains(&own.key)).count() > 15
        );
        let mut messages = Messages::new(&shape);
        assert_eq!(messages.next_record(7).unwrap().class, Class::Message);
    }
}
