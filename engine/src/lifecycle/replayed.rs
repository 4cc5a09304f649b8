//! What a record that is read again means, by the mode of its replay.
//!
//! Invariants: mode `missing` decides by [`Engine::apply`] alone; mode `refresh` and a dry run change nothing but the
//! replay's own rows.

use super::effect::{Effects, Outcome};
use super::engine::Engine;
use super::event::{Event, Origin};
use super::refresh::{Standing, Version};
use super::rehearsal::Rehearsal;
use super::replay::Replaying;
use crate::ledger::Ledger;
use crate::ledger::key::{self, push_part, tag};
use crate::policy::{Facts, Mode};
use crate::{Class, Storage};

impl Engine {
    /// Meets a record that is read again.
    pub fn replay<L: Ledger>(
        &mut self,
        ledger: &mut L,
        replaying: &mut Replaying,
        event: &Event<'_>,
        origin: Origin,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<(), L::Error> {
        let tenants = replaying.replay.tenants.as_ref();
        if tenants.is_some_and(|tenants| !tenants.contains(event.tenant())) {
            replaying.row.counts.filtered += 1;
            return Ok(());
        }
        match (replaying.replay.mode, replaying.replay.dry_run) {
            (Mode::Missing, false) => {
                let first = effects.len();
                let outcome = self.apply(ledger, event, origin, now_ms, effects)?;
                replaying.row.counts.ended += effects.tombstones_from(first);
                self.count_replayed(ledger, replaying, event, outcome, now_ms)
            }
            (Mode::Missing, true) => self.rehearse(ledger, replaying, event, origin, now_ms),
            (Mode::Refresh, dry_run) => {
                let mut unheard = Effects::default();
                let effects = if dry_run { &mut unheard } else { effects };
                self.refresh(ledger, replaying, event, now_ms, effects)
            }
        }
    }

    /// What the event would do, on top of what those before it in this slice would have done.
    fn rehearse<L: Ledger>(
        &mut self,
        ledger: &mut L,
        replaying: &mut Replaying,
        event: &Event<'_>,
        origin: Origin,
        now_ms: i64,
    ) -> Result<(), L::Error> {
        let mut rehearsal = match replaying.rehearsal.take() {
            Some(rehearsal) => rehearsal,
            None => {
                self.flush(ledger);
                Box::new(Rehearsal::open(self.class, ledger)?)
            }
        };
        let (outcome, ended) = rehearsal.apply(ledger, event, origin, now_ms)?;
        replaying.rehearsal = Some(rehearsal);
        replaying.row.counts.ended += ended;
        let emits = matches!(outcome, Outcome::Stored | Outcome::Transit);
        // Slices before this one have left nothing behind but that.
        if emits && !self.is_first(ledger, replaying, event)? {
            replaying.row.counts.known += 1;
            return Ok(());
        }
        self.count_replayed(ledger, replaying, event, outcome, now_ms)
    }

    fn refresh<L: Ledger>(
        &mut self,
        ledger: &mut L,
        replaying: &mut Replaying,
        event: &Event<'_>,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<(), L::Error> {
        let Some(version) = Version::of(event) else {
            replaying.row.counts.nothing += 1;
            return Ok(());
        };
        let mut id = String::new();
        event.push_id(&mut id);
        let mut case = self.case(ledger, event.tenant(), now_ms, effects)?;
        let standing = case.standing(&id, version)?;
        match standing {
            Standing::Out(out) => {
                if !self.is_first(ledger, replaying, event)? {
                    replaying.row.counts.known += 1;
                    return Ok(());
                }
                replaying.row.counts.emitted += 1;
                let mut case = self.case(ledger, event.tenant(), now_ms, effects)?;
                case.emit_again(&id, version, &out)
            }
            Standing::Replaced => {
                replaying.row.counts.known += 1;
                Ok(())
            }
            Standing::Unprocessed => {
                replaying.row.counts.unprocessed += 1;
                Ok(())
            }
            Standing::Over => self.count_replayed(ledger, replaying, event, Outcome::Over, now_ms),
        }
    }

    /// Whether this version of a record is met for the first time in this replay; notes that it was.
    fn is_first<L: Ledger>(
        &mut self,
        ledger: &mut L,
        replaying: &mut Replaying,
        event: &Event<'_>,
    ) -> Result<bool, L::Error> {
        let mut name = String::new();
        push_part(&mut name, event.tenant());
        name.push('/');
        event.push_id(&mut name);
        let mut bytes = name.into_bytes();
        let (time_ms, version_ms) =
            Version::of(event).map_or((0, None), |version| (version.time_ms, version.edited_at_ms));
        bytes.extend_from_slice(&time_ms.to_be_bytes());
        bytes.extend_from_slice(&version_ms.unwrap_or(i64::MIN).to_be_bytes());
        let hash = xxhash_rust::xxh3::xxh3_128(&bytes);
        key::numbered(tag::REPLAYED, replaying.offset, &mut self.desk.key);
        self.desk.key.extend_from_slice(&hash.to_be_bytes());
        if ledger.get(&self.desk.key, &mut self.desk.value)? {
            return Ok(false);
        }
        ledger.put(&self.desk.key, &[]);
        replaying.row.remembers = true;
        Ok(true)
    }

    fn count_replayed<L: Ledger>(
        &mut self,
        ledger: &mut L,
        replaying: &mut Replaying,
        event: &Event<'_>,
        outcome: Outcome,
        now_ms: i64,
    ) -> Result<(), L::Error> {
        let counts = &mut replaying.row.counts;
        match outcome {
            Outcome::Stored | Outcome::Transit => counts.emitted += 1,
            Outcome::Learned => counts.learned += 1,
            Outcome::Known => counts.known += 1,
            Outcome::Nothing => counts.nothing += 1,
            Outcome::Over => match self.why_over(ledger, event, now_ms)? {
                WhyOver::Erased => counts.erased += 1,
                WhyOver::UnknownTenant => counts.unknown_tenant += 1,
                WhyOver::Ended => counts.over += 1,
            },
        }
        Ok(())
    }

    fn why_over<L: Ledger>(
        &mut self,
        ledger: &mut L,
        event: &Event<'_>,
        now_ms: i64,
    ) -> Result<WhyOver, L::Error> {
        let (mut effects, mut id) = (Effects::default(), String::new());
        event.push_id(&mut id);
        let (class, time_ms) = (self.class, event.time_ms());
        let case = self.case(ledger, event.tenant(), now_ms, &mut effects)?;
        let (sender, storage) = (event.sender(), Storage::Stored);
        let facts = Facts { id: &id, sender, storage, time_ms, ttl_ms: 0, ended: None };
        let said_nothing = case.tenant.rules.choice_policy.is_none();
        Ok(if case.view(None).erased_by(&facts).is_some() {
            WhyOver::Erased
        } else if said_nothing && class != Class::Config {
            WhyOver::UnknownTenant
        } else {
            WhyOver::Ended
        })
    }
}

/// Why a record is over.
enum WhyOver {
    Erased,
    UnknownTenant,
    Ended,
}
