//! Whether the content that a record carries is what is out now, for a replay in mode `refresh`.
//!
//! Invariant: nothing is written. What is out is what downstream holds: live content, and what has ended but
//! is kept by a hold or the minimum, each version under the key that it has there.

use super::case::{Case, Place};
use super::edits::UNDER_PLAIN;
use super::effect::Under;
use super::event::{Event, MessageAction, VersionAction};
use crate::Storage;
use crate::ledger::key::Home;
use crate::ledger::{Entry, Ledger, State};
use crate::policy::{Facts, Verdict, verdict};

/// Which version of a record an event carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    /// The record's sent time, or the version's (Unix ms).
    pub(super) time_ms: i64,
    /// Of a message: the edit that it is; none: as it was sent.
    pub(super) edited_at_ms: Option<i64>,
    is_message: bool,
}

impl Version {
    /// The version that an event carries the content of, if it carries any.
    pub(super) fn of(event: &Event<'_>) -> Option<Self> {
        let (edited_at_ms, is_message) = match event {
            Event::Message(event) => match event.action {
                MessageAction::Sent(_) => (None, true),
                MessageAction::Edited { edited_at_ms, .. } => (Some(edited_at_ms), true),
                MessageAction::Delivered(_) | MessageAction::Read(_) | MessageAction::Recalled => {
                    return None;
                }
            },
            Event::Profile(event) | Event::Config(event) => match event.action {
                VersionAction::Set => (None, false),
                VersionAction::Removed => return None,
            },
        };
        Some(Self { time_ms: event.time_ms(), edited_at_ms, is_message })
    }
}

/// Content that is out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    storage: Storage,
    under: Under,
    ttl_ms: i64,
}

/// What is true of a version now.
#[derive(Clone, Copy, Debug)]
pub(super) enum Standing {
    /// It is out.
    Out(Out),
    /// Another version has taken its place.
    Replaced,
    /// Its record is over.
    Over,
    /// lethe has not processed its content, and it is not over by its age.
    Unprocessed,
}

impl<L: Ledger> Case<'_, L> {
    /// What is true of a version now.
    pub(super) fn standing(&mut self, id: &str, version: Version) -> Result<Standing, L::Error> {
        if version.is_message {
            self.message_standing(id, version)
        } else {
            self.version_standing(id, version.time_ms)
        }
    }

    /// Emits the value of the event at hand once more, with the tags of this moment.
    pub(super) fn emit_again(
        &mut self,
        id: &str,
        version: Version,
        out: &Out,
    ) -> Result<(), L::Error> {
        let conversation = self.conversation(id)?;
        let Out { storage, ttl_ms, .. } = *out;
        let time_ms = version.time_ms;
        let facts = Facts { id, sender: "", storage, time_ms, ttl_ms, ended: None };
        self.emit(conversation, &facts, out.under);
        Ok(())
    }

    fn message_standing(&mut self, id: &str, version: Version) -> Result<Standing, L::Error> {
        let time_ms = version.time_ms;
        let conversation = self.conversation(id)?;
        let mut value = Vec::new();
        let Some((place, entry)) = self.find(time_ms, id, &mut value)? else {
            return Ok(self.unknown(id, time_ms, conversation));
        };
        match entry.state {
            State::Early => return Ok(self.unknown(id, time_ms, conversation)),
            State::Gone => return Ok(Standing::Over),
            State::Live | State::Condemned(_) => {}
        }
        if self.is_passed(place, time_ms, id, entry.storage) {
            return Ok(Standing::Over);
        }
        let facts = Facts::of(time_ms, id, &entry);
        match verdict(&facts, &self.view(conversation)) {
            Verdict::Ended(_) => return Ok(Standing::Over),
            Verdict::Live { .. } | Verdict::Kept(..) => {}
        }
        Ok(match self.message_key(id, version, &entry)? {
            Some(under) => {
                Standing::Out(Out { storage: entry.storage, under, ttl_ms: entry.ttl_ms })
            }
            None => Standing::Replaced,
        })
    }

    /// Under which key a version of a message is out; none: it is not.
    fn message_key(
        &mut self,
        id: &str,
        version: Version,
        entry: &Entry<'_>,
    ) -> Result<Option<Under>, L::Error> {
        let Version { time_ms, edited_at_ms, .. } = version;
        if !entry.has_versions {
            return Ok((entry.edited_at_ms == edited_at_ms).then_some(Under::Plain));
        }
        let Some(edited_at_ms) = edited_at_ms else {
            let edit = self.edit_under_plain(time_ms, id)?;
            return Ok(edit.is_none().then_some(Under::Plain));
        };
        let mut value = Vec::new();
        let home = Home { tenant: self.name, time_ms, id };
        home.write_version(edited_at_ms, &mut self.desk.key);
        let found = self.ledger.get(&self.desk.key, &mut value)?;
        let under = if value == UNDER_PLAIN { Under::Plain } else { Under::Version(edited_at_ms) };
        Ok(found.then_some(under))
    }

    fn version_standing(&mut self, id: &str, time_ms: i64) -> Result<Standing, L::Error> {
        let Some(latest) = self.latest(id)? else {
            return Ok(self.unknown(id, time_ms, None));
        };
        if time_ms > latest.newest_ms {
            return Ok(self.unknown(id, time_ms, None));
        }
        for storage in [Storage::Stored, Storage::Transit] {
            // An older one has no entry by which a cursor could tell: it is out for as long as it stands there.
            let beside = storage == Storage::Stored && self.beside(time_ms, id)?.is_some();
            let is_live = latest.live_ms(storage) == Some(time_ms);
            let is_out = beside || (is_live && self.is_version_out(storage, time_ms, id)?);
            if !is_out {
                continue;
            }
            let mut value = Vec::new();
            let found = self.find(time_ms, id, &mut value)?;
            let ended = found.and_then(|(_, entry)| Facts::of(time_ms, id, &entry).ended);
            let facts = Facts { ended, ..super::version::version_facts(storage, time_ms, id) };
            return Ok(match verdict(&facts, &self.view(None)) {
                Verdict::Ended(_) => Standing::Over,
                Verdict::Live { .. } | Verdict::Kept(..) => {
                    let under = super::beside::under(&latest, storage, time_ms);
                    Standing::Out(Out { storage, under, ttl_ms: 0 })
                }
            });
        }
        Ok(if time_ms < latest.newest_ms { Standing::Replaced } else { Standing::Over })
    }

    /// Of content of which nothing is known.
    fn unknown(
        &self,
        id: &str,
        time_ms: i64,
        conversation: Option<crate::ledger::Conversation>,
    ) -> Standing {
        let view = self.view(conversation);
        let aged = [Storage::Stored, Storage::Transit]
            .into_iter()
            .all(|storage| time_ms <= view.horizon_ms(storage));
        let facts = super::version::version_facts(Storage::Transit, time_ms, id);
        if aged || view.erased_by(&facts).is_some() {
            Standing::Over
        } else {
            Standing::Unprocessed
        }
    }

    fn is_passed(&self, place: Place, time_ms: i64, id: &str, storage: Storage) -> bool {
        place == Place::Range && self.tenant.books.line(storage).has_passed(time_ms, id)
    }
}
