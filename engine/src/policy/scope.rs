//! What a hold or an erasure covers, and how to find what covers a record among any number of them.
//!
//! Invariant: finding what covers a record looks at six places at most, however many scopes there are.

use std::collections::BTreeMap;

use super::record::{Refused, check_id, check_tenant};
use crate::Class;
use crate::ledger::key::push_part;

/// The fields of a scope as a record carries them: the tenant, and what narrows it.
#[derive(Debug, Default)]
pub(super) struct ScopeFields {
    pub(super) tenant: String,
    pub(super) conversation: Option<String>,
    pub(super) user: Option<String>,
    pub(super) message: Option<String>,
}

/// Some of a tenant's records: all of them, or those of a conversation, a message, a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Whose.
    pub tenant: String,
    /// A conversation's alone, encoded as in the record key.
    pub conversation: Option<String>,
    /// A message's alone: `conversation/message`, encoded as in the record key.
    pub message: Option<String>,
    /// A user's alone: what the user sent, and the user's profile.
    pub user: Option<String>,
}

/// What a scope is asked about: a record's id as in its key, and who sent it.
#[derive(Clone, Copy, Debug)]
pub struct Covered<'a> {
    /// The record's class.
    pub class: Class,
    /// What follows the tenant in its record key.
    pub id: &'a str,
    /// A message's sender.
    pub sender: &'a str,
}

impl Scope {
    pub(super) fn new(fields: ScopeFields) -> Result<Self, Refused> {
        check_tenant(&fields.tenant)?;
        for id in [&fields.conversation, &fields.user, &fields.message].into_iter().flatten() {
            check_id(id)?;
        }
        let conversation = fields.conversation.as_deref().map(encoded);
        let message = match (&conversation, &fields.message) {
            (_, None) => None,
            (None, Some(_)) => return Err("a message without its conversation"),
            (Some(conversation), Some(message)) => {
                let mut id = conversation.clone();
                id.push('/');
                push_part(&mut id, message);
                Some(id)
            }
        };
        Ok(Self { tenant: fields.tenant, conversation, message, user: fields.user })
    }

    /// Whether it can cover records of a class: a conversation has messages alone, a user no config items.
    #[must_use]
    pub fn has(&self, class: Class) -> bool {
        match class {
            Class::Message => true,
            Class::Profile => self.conversation.is_none(),
            Class::Config => self.conversation.is_none() && self.user.is_none(),
        }
    }

    /// Whether it covers a record of its tenant.
    #[must_use]
    pub fn covers(&self, record: Covered<'_>) -> bool {
        if !self.has(record.class) {
            return false;
        }
        let in_conversation = self
            .conversation
            .as_deref()
            .is_none_or(|conversation| conversation_of(record.id) == conversation);
        let is_message = self.message.as_deref().is_none_or(|message| message == record.id);
        let is_users = self.user.as_deref().is_none_or(|user| match record.class {
            Class::Message => user == record.sender,
            Class::Profile | Class::Config => encoded(user) == record.id,
        });
        in_conversation && is_message && is_users
    }
}

/// The conversation in a message's id.
#[must_use]
pub fn conversation_of(id: &str) -> &str {
    id.split_once('/').map_or(id, |(conversation, _)| conversation)
}

fn encoded(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    push_part(&mut text, part);
    text
}

/// What scopes of one tenant say, found by what they cover.
#[derive(Clone, Debug, Default)]
pub struct ByScope<T> {
    everything: ByUser<T>,
    conversations: BTreeMap<Box<str>, ByUser<T>>,
    messages: BTreeMap<Box<str>, ByUser<T>>,
}

#[derive(Clone, Debug, Default)]
struct ByUser<T> {
    anyone: T,
    users: BTreeMap<Box<str>, T>,
}

/// What can be put into a [`ByScope`].
pub trait Place: Default {
    /// Whether nothing is left in it.
    fn is_empty(&self) -> bool;
}

impl<T: Place> ByScope<T> {
    /// Changes what a scope says of a class. The scope must be able to cover it.
    pub fn change(&mut self, class: Class, scope: &Scope, change: impl FnOnce(&mut T)) {
        // A profile is known by its user's id as it is in the record key.
        let user = scope.user.as_deref().map(|user| match class {
            Class::Message => user.to_owned(),
            Class::Profile | Class::Config => encoded(user),
        });
        let (by_id, id) = match (&scope.message, &scope.conversation) {
            (Some(message), _) => (&mut self.messages, message),
            (None, Some(conversation)) => (&mut self.conversations, conversation),
            (None, None) => return self.everything.change(user, change),
        };
        let by_user = by_id.entry(id.as_str().into()).or_default();
        by_user.change(user, change);
        if by_user.is_empty() {
            by_id.remove(id.as_str());
        }
    }

    /// Asks each place that covers a record; the first answer is taken.
    pub fn find<R>(&self, record: Covered<'_>, mut ask: impl FnMut(&T) -> Option<R>) -> Option<R> {
        let user = match record.class {
            Class::Message => record.sender,
            Class::Profile | Class::Config => record.id,
        };
        let mut ask_of = |by_user: &ByUser<T>| {
            ask(&by_user.anyone).or_else(|| {
                if by_user.users.is_empty() {
                    None
                } else {
                    by_user.users.get(user).and_then(&mut ask)
                }
            })
        };
        if let Some(found) = ask_of(&self.everything) {
            return Some(found);
        }
        if self.conversations.is_empty() && self.messages.is_empty() {
            return None;
        }
        let conversation = self.conversations.get(conversation_of(record.id));
        if let Some(found) = conversation.and_then(&mut ask_of) {
            return Some(found);
        }
        self.messages.get(record.id).and_then(&mut ask_of)
    }

    /// What is said of the tenant as a whole.
    #[must_use]
    pub fn of_all(&self) -> &T {
        &self.everything.anyone
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.everything.is_empty() && self.conversations.is_empty() && self.messages.is_empty()
    }
}

impl<T: Place> ByUser<T> {
    fn change(&mut self, user: Option<String>, change: impl FnOnce(&mut T)) {
        let Some(user) = user else { return change(&mut self.anyone) };
        let place = self.users.entry(user.as_str().into()).or_default();
        change(place);
        if place.is_empty() {
            self.users.remove(user.as_str());
        }
    }

    fn is_empty(&self) -> bool {
        self.anyone.is_empty() && self.users.is_empty()
    }
}
