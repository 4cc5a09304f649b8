//! One record's life: what came out of it, against what its events and its tenant warrant.

use std::collections::BTreeSet;

use lethe::pipeline::seam::PartitionId;
use lethe_engine::{Class, Storage};

use super::{Seen, Written};
use crate::expect::{Out, without_time};
use crate::traffic::{BRIEF, Event, FLIP, KEEP, OUT, SHORT, SHORT_MS, Said, Traffic, What};

/// One record's life.
pub(super) struct Case<'a> {
    pub(super) id: PartitionId,
    pub(super) traffic: &'a Traffic,
    pub(super) deltas: &'a [Written],
    pub(super) events: &'a [(i64, &'a Event)],
    pub(super) seen: &'a [Seen],
}

impl Case<'_> {
    pub(super) fn check(&self) -> Result<(), String> {
        let first = self.events[0].1;
        self.once()?;
        self.warranted(first)?;
        if first.tenant == SHORT {
            self.held()?;
        }
        if self.may_be_mended() {
            return Ok(());
        }
        let is_message = self.id.class == Class::Message;
        let timed = first.ttl_ms > 0 || [SHORT, BRIEF, FLIP].contains(&first.tenant);
        if timed && is_message { self.timed(first) } else { self.exact(first) }
    }

    /// An edit came before its message was known and was dropped; a replay may have brought it in since.
    fn may_be_mended(&self) -> bool {
        let begins = |what: &What| matches!(what, What::Sent | What::Edited { carries: true, .. });
        let early = self.events.iter().take_while(|(_, event)| !begins(&event.what));
        let dropped = early.filter(|(_, event)| matches!(event.what, What::Edited { .. })).count();
        dropped > 0
            && self.traffic.replays.iter().any(|asked| {
                !asked.refresh && asked.class.is_none_or(|class| class == self.id.class)
            })
    }

    /// Each content once, byte for byte one of the inputs'; never on both topics; a message has at most one
    /// tombstone, its last; and each output has its delta in its transaction.
    fn once(&self) -> Result<(), String> {
        let mut contents = BTreeSet::new();
        let (mut live, mut ended) = (false, false);
        for one in self.seen {
            if !self.deltas.iter().any(|delta| delta.serial == one.serial) {
                return Err("an output without a delta in its transaction".to_owned());
            }
            if self.id.class == Class::Message && one.storage != self.seen[0].storage {
                return Err("it is on both topics".to_owned());
            }
            match &one.out {
                Out::Content(value) => {
                    if !self.events.iter().any(|(_, event)| event.value == *value) {
                        return Err("a content that never went in".to_owned());
                    }
                    if !contents.insert(value) {
                        return Err("a content twice".to_owned());
                    }
                    if ended && self.id.class == Class::Message {
                        return Err("a content after its tombstone".to_owned());
                    }
                    live = true;
                }
                Out::Tombstone(_) if !live => {
                    return Err("a tombstone of what is not there".to_owned());
                }
                Out::Tombstone(_) => (live, ended) = (false, true),
            }
        }
        Ok(())
    }

    /// Nothing of opted-out tenants is stored, nothing ends early, and each reason is a true one.
    fn warranted(&self, first: &Event) -> Result<(), String> {
        for one in self.seen {
            let stored = one.storage == Storage::Stored;
            if stored && self.id.class != Class::Config && [OUT, BRIEF].contains(&first.tenant) {
                return Err("opted-out content is stored".to_owned());
            }
            if stored
                && first.tenant == FLIP
                && matches!(one.out, Out::Content(_))
                && !self.was_in(one)
            {
                return Err("it was stored while its tenant had opted out".to_owned());
            }
            let Out::Tombstone(reason) = &one.out else { continue };
            // What has ended by its tenant's change of mind may be told as aged, too.
            let changed = first.tenant == FLIP
                && self.traffic.said.iter().any(|(_, said)| *said == Said::FlipOut);
            let due_ms = match reason.as_str() {
                "expired" if changed => i64::MIN,
                "expired" => first.at_ms + SHORT_MS,
                "undelivered" if first.tenant == OUT => first.at_ms + 24 * 3_600_000,
                "undelivered" => first.at_ms + SHORT_MS,
                "burned" => first.at_ms + first.ttl_ms,
                "recalled" if self.any(|what| *what == What::Recalled) => i64::MIN,
                "removed" if self.any(|what| *what == What::Removed) => i64::MIN,
                "delivered"
                    if self.any(|what| matches!(what, What::Delivered(_) | What::Everyone)) =>
                {
                    i64::MIN
                }
                "opted-out" if first.tenant == FLIP => i64::MIN,
                _ => return Err(format!("it cannot have been {reason}")),
            };
            if due_ms > one.clock_max_ms {
                return Err(format!("{reason} {} ms early", due_ms - one.clock_max_ms));
            }
        }
        Ok(())
    }

    fn any(&self, is: impl Fn(&What) -> bool) -> bool {
        self.events.iter().any(|(_, event)| is(&event.what))
    }

    /// The control offsets between which a batch was decided.
    fn range(&self, one: &Seen) -> (i64, i64) {
        let at =
            self.deltas.iter().position(|delta| delta.serial == one.serial).unwrap_or_default();
        let before = at.checked_sub(1).map_or(0, |at| self.deltas[at].header.control_offset);
        (before, self.deltas[at].header.control_offset)
    }

    /// Whether the tenant that changes its mind was in at any moment of a batch.
    fn was_in(&self, one: &Seen) -> bool {
        let (from, to) = self.range(one);
        let mut now_in = false;
        let mut was = false;
        for &(offset, said) in &self.traffic.said {
            if offset >= from {
                was |= now_in;
            }
            if offset >= to {
                return was;
            }
            match said {
                Said::FlipIn => now_in = true,
                Said::FlipOut => now_in = false,
                Said::HoldOn | Said::HoldOff | Said::Invalid | Said::Other => {}
            }
        }
        was | now_in
    }

    /// No tombstone in a batch that was under a hold from its beginning to its end.
    fn held(&self) -> Result<(), String> {
        for one in self.seen.iter().filter(|one| matches!(one.out, Out::Tombstone(_))) {
            let (from, to) = self.range(one);
            let mut before = self.traffic.said.iter().filter(|(offset, _)| *offset < from);
            let holds = before.rfind(|(_, said)| matches!(said, Said::HoldOn | Said::HoldOff));
            let changes = self
                .traffic
                .said
                .iter()
                .any(|&(offset, said)| (from..to).contains(&offset) && said == Said::HoldOff);
            if holds.is_some_and(|(_, said)| *said == Said::HoldOn)
                && !changes
                && one.storage == Storage::Stored
            {
                return Err("a tombstone under a hold".to_owned());
            }
        }
        Ok(())
    }

    /// A record that no time ends within the run: exactly what its events say, and at the very end what the
    /// transit limit says.
    fn exact(&self, first: &Event) -> Result<(), String> {
        let events: Vec<&Event> = self.events.iter().map(|(_, event)| *event).collect();
        let mut expected = without_time(self.id.class, &events);
        let in_transit = first.tenant == OUT && self.id.class != Class::Config;
        if in_transit && matches!(expected.last(), Some(Out::Content(_))) {
            expected.push(Out::Tombstone("undelivered".to_owned()));
        }
        let mut seen: Vec<&Out> = self.seen.iter().map(|one| &one.out).collect();
        let mut wanted: Vec<&Out> = expected.iter().collect();
        if self.traffic.stood_still {
            wanted = without_replaced(&wanted);
            seen = without_replaced(&seen);
        }
        if seen != wanted && !(self.traffic.stood_still && wanted.is_empty() && ends_at_once(&seen))
        {
            return Err(format!("expected {expected:?}"));
        }
        let storage = if in_transit { Storage::Transit } else { Storage::Stored };
        match self.seen.iter().find(|one| one.storage != storage) {
            Some(_) => Err("it is on the wrong topic".to_owned()),
            None => Ok(()),
        }
    }

    /// A record that time ends: it ends exactly once, and is missing only if it came too late.
    fn timed(&self, first: &Event) -> Result<(), String> {
        let events: Vec<&Event> = self.events.iter().map(|(_, event)| *event).collect();
        let expected = without_time(Class::Message, &events);
        let limit_ms = match (first.ttl_ms, [KEEP, OUT].contains(&first.tenant)) {
            (0, _) => SHORT_MS,
            (ttl_ms, true) => ttl_ms,
            (ttl_ms, false) => ttl_ms.min(SHORT_MS),
        };
        let begins =
            |event: &Event| matches!(event.what, What::Sent | What::Edited { carries: true, .. });
        if self.seen.is_empty() {
            let Some((offset, _)) = self.events.iter().find(|(_, event)| begins(event)) else {
                return Ok(());
            };
            let covering = self.deltas.iter().find(|delta| delta.header.input_offset > *offset);
            let late = covering.is_none_or(|delta| first.at_ms + limit_ms <= delta.clock_max_ms);
            // Deliveries count in transit alone, and where this was to be is not always known.
            let over = expected.is_empty() || self.any(|what| matches!(what, What::Recalled));
            return if late || over || first.tenant == FLIP {
                Ok(())
            } else {
                Err("it is missing".to_owned())
            };
        }
        if !matches!(self.seen.last().map(|one| &one.out), Some(Out::Tombstone(_))) {
            return Err("it has no tombstone".to_owned());
        }
        Ok(())
    }
}

/// Whether it came out and ended: what had been recalled or delivered before its content came, and came while
/// tombstones stood still, is kept as under a hold.
fn ends_at_once(seen: &[&Out]) -> bool {
    matches!(seen, [Out::Content(_), Out::Tombstone(reason)] if ["recalled", "delivered"].contains(&reason.as_str()))
}

/// Without tombstones that a further content follows: where tombstones stood still for a while, what was
/// removed may have been set anew before its tombstone could be out, and then has none.
fn without_replaced<'a>(all: &[&'a Out]) -> Vec<&'a Out> {
    let mut kept = Vec::new();
    for (at, &out) in all.iter().enumerate() {
        let replaced = matches!(all.get(at + 1), Some(Out::Content(_)));
        if !(replaced && matches!(out, Out::Tombstone(_))) {
            kept.push(out);
        }
    }
    kept
}
