//! The verdict on a run: what a `read_committed` consumer sees, against what the inputs warrant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use lethe_test_support::bus::{Bus, DEAD_LETTERS};
use lethe_test_support::record::Record;
use lethe_test_support::warrant::{Out, What, message, version};

use crate::inputs::{Inputs, Subject, Topic};
use crate::load::{BRIEF, FLIP, LIMIT_MS, OUT, SHORT};
use crate::watch::Watch;

/// Where records of an input may come out: stored, in transit.
const OUTPUTS: [(Topic, &str, bool); 5] = [
    ("im.messages", "store.messages", true),
    ("im.messages", "transit.messages", false),
    ("im.profiles", "store.profiles", true),
    ("im.profiles", "transit.profiles", false),
    ("im.configs", "store.configs", true),
];

/// What is wrong.
pub(crate) struct Wrong {
    pub(crate) text: String,
    /// Something is still to come.
    pub(crate) may_pass: bool,
}

impl Wrong {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), may_pass: false }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    stored: bool,
    partition: i32,
    out: Out,
    at_ms: i64,
}

/// Everything that came out.
pub(crate) struct Outputs {
    seen: BTreeMap<(Topic, String), Vec<Seen>>,
    dead: Vec<String>,
}

impl Outputs {
    pub(crate) fn read(bus: &Bus<'_>) -> Self {
        let mut seen: BTreeMap<(Topic, String), Vec<Seen>> = BTreeMap::new();
        for (input, topic, stored) in OUTPUTS {
            for record in bus.read(topic) {
                seen.entry((input, record.key.clone())).or_default().push(of(stored, record));
            }
        }
        let source = |record: Record| record.header("lethe-source").unwrap_or_default();
        let mut dead: Vec<String> = bus.read(DEAD_LETTERS).into_iter().map(source).collect();
        dead.sort();
        Self { seen, dead }
    }

    /// Compares all input with all output.
    pub(crate) fn verify(&self, inputs: &Inputs, watch: &Watch<'_>) -> Result<Verified, Wrong> {
        let mut verified = Verified { records: inputs.records, ..Verified::default() };
        let mut garbage = inputs.garbage.clone();
        garbage.sort();
        if garbage != self.dead {
            let (sent, dead) = (garbage.len(), self.dead.len());
            return Err(Wrong::new(format!("{sent} broken records, {dead} dead letters")));
        }
        if let Some(key) = self.seen.keys().find(|key| !inputs.subjects.contains_key(*key)) {
            return Err(Wrong::new(format!("{key:?} came out, but never went in")));
        }
        for (key, subject) in &inputs.subjects {
            let seen = self.seen.get(key).map_or(&[][..], Vec::as_slice);
            let case = Case { topic: key.0, subject, seen, watch };
            let missing = case.check().map_err(|wrong| Wrong {
                text: format!("{key:?}: {}\n  in:  {subject:?}\n  out: {seen:?}", wrong.text),
                ..wrong
            })?;
            verified.count(seen, missing);
        }
        Ok(verified)
    }

    /// Whether the same input again has brought nothing back: what had ended is as it was. What lives may
    /// have an edit more, one that came before its message at first and was passed over.
    pub(crate) fn is_as(&self, before: &Self) -> Result<(), String> {
        for (key, seen) in &self.seen {
            let was = before.seen.get(key).map_or(&[][..], Vec::as_slice);
            let lived = matches!(was.last().map(|one| &one.out), Some(Out::Content(_)));
            let more = seen.strip_prefix(was).is_some_and(|more| {
                let is_new = |one: &Seen| {
                    matches!(one.out, Out::Content(_)) && was.iter().all(|old| old.out != one.out)
                };
                more.is_empty() || (lived && more.iter().all(is_new))
            });
            if !more {
                return Err(format!("{key:?}: {was:?}, now {seen:?}"));
            }
        }
        if self.seen.len() == before.seen.len() { Ok(()) } else { Err("some are gone".to_owned()) }
    }
}

fn of(stored: bool, record: Record) -> Seen {
    let (partition, at_ms) = (record.partition, record.timestamp_ms.unwrap_or(i64::MIN));
    let out = match (record.reason(), record.value) {
        (Some(reason), _) => Out::Tombstone(reason),
        (None, value) => Out::Content(value.unwrap_or_default()),
    };
    Seen { stored, partition, out, at_ms }
}

/// What was found right.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verified {
    pub(crate) records: usize,
    pub(crate) subjects: usize,
    /// Those that came so late that they were over.
    pub(crate) late: usize,
    pub(crate) contents: usize,
    pub(crate) tombstones: BTreeMap<String, usize>,
}

impl Verified {
    fn count(&mut self, seen: &[Seen], late: bool) {
        self.subjects += 1;
        self.late += usize::from(late);
        for one in seen {
            match &one.out {
                Out::Content(_) => self.contents += 1,
                Out::Tombstone(reason) => {
                    *self.tombstones.entry(reason.clone()).or_default() += 1;
                }
            }
        }
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended: usize = self.tombstones.values().sum();
        write!(
            formatter,
            "verified: {} input records about {} subjects ({} of them over before they came), \
             {} contents, {ended} tombstones {:?}",
            self.records, self.subjects, self.late, self.contents, self.tombstones
        )
    }
}

/// One message's, profile's or item's life.
struct Case<'a> {
    topic: Topic,
    subject: &'a Subject,
    seen: &'a [Seen],
    watch: &'a Watch<'a>,
}

impl Case<'_> {
    /// Returns whether nothing came out because it came too late.
    fn check(&self) -> Result<bool, Wrong> {
        self.once()?;
        let is_message = self.topic == "im.messages";
        let tenant = self.subject.tenant.as_str();
        let timed = self.subject.ttl_ms() > 0 || [SHORT, BRIEF, FLIP].contains(&tenant);
        if timed && is_message { self.timed() } else { self.exact().map(|()| false) }
    }

    /// Each content once, on its input's partition; never on both topics; a message has at most one tombstone,
    /// its last.
    fn once(&self) -> Result<(), Wrong> {
        let mut contents = BTreeSet::new();
        let (mut live, mut ended) = (false, false);
        for one in self.seen {
            if self.seen.first().is_some_and(|first| first.stored != one.stored) {
                return Err(Wrong::new("it is on both topics"));
            }
            if one.partition != self.subject.partition {
                return Err(Wrong::new("it is on another partition than its input"));
            }
            match &one.out {
                Out::Content(value) => {
                    if !contents.insert(value) {
                        return Err(Wrong::new("a content twice"));
                    }
                    if ended && self.topic == "im.messages" {
                        return Err(Wrong::new("a content after its tombstone"));
                    }
                    live = true;
                }
                Out::Tombstone(_) if !live => {
                    return Err(Wrong::new("a tombstone of what is not there"));
                }
                Out::Tombstone(_) => (live, ended) = (false, true),
            }
        }
        Ok(())
    }

    /// What no time ends within the run: exactly what its events say.
    fn exact(&self) -> Result<(), Wrong> {
        let said = self.subject.said();
        let in_transit = self.subject.tenant == OUT;
        let expected = match self.topic {
            "im.messages" => message(in_transit, &said),
            _ => version(&said),
        };
        let seen: Vec<&Out> = self.seen.iter().map(|one| &one.out).collect();
        if seen != expected.iter().collect::<Vec<_>>() {
            return Err(Wrong::new(format!("expected {expected:?}")));
        }
        let stored = !in_transit || self.topic == "im.configs";
        if self.seen.iter().any(|one| one.stored != stored) {
            return Err(Wrong::new("it is on the wrong topic"));
        }
        Ok(())
    }

    /// What time ends: its first content and one tombstone, never early and for a true reason; nothing at all
    /// only if it was not processed in time. These have no edits.
    fn timed(&self) -> Result<bool, Wrong> {
        let sent_at_ms = self.subject.events.first().map_or(0, |event| event.at_ms);
        let first = self.subject.said().into_iter().find(|said| *said.what == What::Sent);
        match self.seen {
            [] => self.missing(sent_at_ms),
            [content, rest @ ..] => {
                if Some(&content.out)
                    != first.map(|said| Out::Content(said.value.to_vec())).as_ref()
                {
                    return Err(Wrong::new("its content is not its first one"));
                }
                match rest {
                    [] => Err(Wrong { may_pass: true, ..Wrong::new("it has no tombstone") }),
                    [end] => self.true_end(end, sent_at_ms).map(|()| false),
                    [..] => Err(Wrong::new("more than a content and a tombstone")),
                }
            }
        }
    }

    /// How long it lives: its own time and its tenant's.
    fn limit_ms(&self) -> i64 {
        let short = [SHORT, BRIEF, FLIP].contains(&self.subject.tenant.as_str());
        match (self.subject.ttl_ms(), short) {
            (0, _) => LIMIT_MS,
            (ttl_ms, true) => ttl_ms.min(LIMIT_MS),
            (ttl_ms, false) => ttl_ms,
        }
    }

    /// Returns whether it may have come too late.
    fn missing(&self, sent_at_ms: i64) -> Result<bool, Wrong> {
        let Some(sent) = self.subject.events.iter().find(|event| event.what == What::Sent) else {
            return Ok(false);
        };
        let said = self.subject.said();
        let warranted = match self.subject.tenant.as_str() {
            OUT | BRIEF => !message(true, &said).is_empty(),
            // Where it was to be depends on the moment.
            FLIP => !message(true, &said).is_empty() && !message(false, &said).is_empty(),
            _ => !message(false, &said).is_empty(),
        };
        let by_ms = self.watch.processed_by(self.subject.partition, sent.offset);
        let in_time = by_ms.is_some_and(|by_ms| by_ms < sent_at_ms + self.limit_ms());
        if warranted && in_time { Err(Wrong::new("it is missing")) } else { Ok(warranted) }
    }

    fn true_end(&self, end: &Seen, sent_at_ms: i64) -> Result<(), Wrong> {
        let Out::Tombstone(reason) = &end.out else {
            return Err(Wrong::new("a second content"));
        };
        let any = |is: fn(&What) -> bool| self.subject.events.iter().any(|event| is(&event.what));
        let tenant = self.subject.tenant.as_str();
        let due_ms = match reason.as_str() {
            // What its tenant's change of mind has ended may be told as aged, too.
            "expired" if tenant == FLIP => i64::MIN,
            "expired" if tenant == SHORT => sent_at_ms + LIMIT_MS,
            "undelivered" if [BRIEF, FLIP].contains(&tenant) => sent_at_ms + LIMIT_MS,
            "burned" if self.subject.ttl_ms() > 0 => sent_at_ms + self.subject.ttl_ms(),
            "opted-out" if tenant == FLIP => i64::MIN,
            "recalled" if any(|what| *what == What::Recalled) => i64::MIN,
            "delivered" if any(|what| matches!(what, What::Delivered(_) | What::Everyone)) => {
                i64::MIN
            }
            _ => return Err(Wrong::new(format!("it cannot have been {reason}"))),
        };
        if end.at_ms < due_ms {
            return Err(Wrong::new(format!("{reason} {} ms early", due_ms - end.at_ms)));
        }
        Ok(())
    }
}
