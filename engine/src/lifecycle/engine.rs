//! The lifecycle of one partition: its cache, and the way from an event to a decision.

use std::collections::{BTreeMap, HashMap};

use foldhash::quality::FixedState;

use super::case::{Case, Desk, Requests, Tenant};
use super::event::{Event, Origin};
use super::look::first_time_ms;
use super::newest::Newest;
use super::{Effects, Outcome};
use crate::ledger::key::{self, push_part, tag};
use crate::ledger::{Books, Control, Corrupt, Ledger, Rebuilt, Rows};
use crate::policy::{Erasures, Holds, Rules, Statement, Subject};
use crate::{Class, Storage};

/// So many tenants are cached; beyond, the cache is emptied at the end of a batch.
const TENANTS_CACHED_MAX: usize = 50_000;
/// So many tenants' rows are read at once for a census.
const CENSUS_ROWS_MAX: usize = 1_024;

/// The lifecycle of one partition: what it has cached of its ledger, and the decisions.
///
/// Everything in it can be read again from the ledger: after an aborted batch it is opened anew.
#[derive(Debug)]
pub struct Engine {
    pub(super) class: Class,
    pub(super) desk: Desk,
    tenants: Vec<Tenant>,
    /// Where each cached tenant is. A fixed hash: decisions depend on nothing else than their input.
    places: HashMap<Box<str>, usize, FixedState>,
    /// The id of the record at hand, encoded as in its key.
    id: String,
    /// The holds in force.
    pub(super) holds: Holds,
    /// The erasures in force, and those that were withdrawn while they were carried out.
    pub(super) erasures: Erasures,
    /// Those that are not completed, by offset, and when they were written (Unix ms).
    pub(super) uncompleted: BTreeMap<i64, i64>,
    /// The first control offsets of the replays about which something may be left to do, in order.
    pub(super) replays: Vec<i64>,
    /// Every record of the control topic below has been applied.
    pub(super) control_offset: i64,
    /// The control topic is not trusted.
    pub(super) suspended: bool,
    /// When the first waiting control record comes into force (Unix ms).
    pub(super) waiting_ms: Option<i64>,
    /// Tenants whose look ran out of budget, and since when they are overdue (Unix ms).
    pub(super) backlog: HashMap<Box<str>, i64>,
    partition_dirty: bool,
}

impl Engine {
    /// Opens the engine of a partition over its committed ledger.
    pub fn open<L: Ledger>(class: Class, ledger: &mut L) -> Result<Self, L::Error> {
        let mut engine = Self {
            class,
            desk: Desk::default(),
            tenants: Vec::new(),
            places: HashMap::default(),
            id: String::new(),
            holds: Holds::new(class),
            erasures: Erasures::new(class),
            uncompleted: BTreeMap::new(),
            replays: Vec::new(),
            control_offset: 0,
            suspended: false,
            waiting_ms: None,
            backlog: HashMap::new(),
            partition_dirty: false,
        };
        engine.read_partition(ledger)?;
        engine.read_rebuilt(ledger)?;
        engine.read_holds(ledger)?;
        engine.read_erasures(ledger)?;
        engine.read_replays(ledger)?;
        engine.waiting_ms = first_time_ms(ledger, tag::WAITING)?;
        engine.desk.stopped = engine.is_stopped();
        engine.desk.wake_ms = engine.next_wake_ms(ledger)?;
        Ok(engine)
    }

    /// The class of the partition's records.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// The control offset to apply next: every record below it has been applied.
    #[must_use]
    pub fn control_offset(&self) -> i64 {
        self.control_offset
    }

    /// How many holds are in force.
    #[must_use]
    pub fn holds(&self) -> usize {
        self.holds.len()
    }

    /// How far a ledger had come in whose place this one was put together; none: it is the first.
    #[must_use]
    pub fn rebuilt(&self) -> Option<&Rebuilt> {
        self.desk.rebuilt.as_ref()
    }

    /// When the next look is due (Unix ms), if anything is.
    #[must_use]
    pub fn wake_ms(&self) -> Option<i64> {
        self.desk.wake_ms
    }

    /// Applies an event, in the order of its partition.
    pub fn apply<L: Ledger>(
        &mut self,
        ledger: &mut L,
        event: &Event<'_>,
        origin: Origin,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<Outcome, L::Error> {
        if self.waiting_ms.is_some_and(|waiting_ms| waiting_ms <= now_ms) {
            self.activate(ledger, now_ms, now_ms, effects)?;
        }
        self.desk.origin = origin;
        let mut id = std::mem::take(&mut self.id);
        id.clear();
        let outcome = match event {
            Event::Message(event) => {
                push_part(&mut id, event.conversation);
                id.push('/');
                push_part(&mut id, event.message);
                let mut case = self.case(ledger, event.tenant, now_ms, effects)?;
                case.carry_out_end(now_ms)?;
                case.message(event.sent_at_ms, &id, &event.action)
            }
            Event::Profile(event) | Event::Config(event) => {
                push_part(&mut id, event.id);
                let mut case = self.case(ledger, event.tenant, now_ms, effects)?;
                case.carry_out_end(now_ms)?;
                case.version(event.updated_at_ms, &id, event.action)
            }
        };
        self.id = id;
        outcome
    }

    /// Writes what the batch changed in the cache to the ledger: before its delta is taken.
    pub fn flush<L: Ledger>(&mut self, ledger: &mut L) {
        let mut dirty = std::mem::take(&mut self.desk.dirty);
        for place in dirty.drain(..) {
            if let Some(tenant) = self.tenants.get_mut(place) {
                tenant.books.write(&mut self.desk.value);
                key::of_text(tag::BOOKS, &tenant.name, &mut self.desk.key);
                ledger.put(&self.desk.key, &self.desk.value);
                tenant.dirty = false;
            }
        }
        self.desk.dirty = dirty;
        if std::mem::take(&mut self.partition_dirty) {
            self.desk.value.clear();
            self.desk.value.extend_from_slice(&self.control_offset.to_be_bytes());
            self.desk.value.push(u8::from(self.suspended));
            key::first(tag::PARTITION, &mut self.desk.key);
            ledger.put(&self.desk.key, &self.desk.value);
        }
        if self.tenants.len() > TENANTS_CACHED_MAX {
            self.tenants.clear();
            self.places.clear();
            self.desk.at_hand = 0;
        }
    }

    /// Counts the live records of each tenant and storage, as of the last flush.
    pub fn census<L: Ledger>(
        &self,
        ledger: &mut L,
        visit: &mut dyn FnMut(&str, Storage, u64),
    ) -> Result<(), L::Error> {
        let (mut from, mut to, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        key::first(tag::BOOKS, &mut from);
        key::first(tag::BOOKS + 1, &mut to);
        loop {
            ledger.scan(&from, &to, CENSUS_ROWS_MAX, &mut rows)?;
            for (key, value) in rows.iter() {
                let (name, books) = (key::read_text(key)?, Books::read(value)?);
                visit(name, Storage::Stored, books.stored.live);
                visit(name, Storage::Transit, books.transit.live);
                from.clear();
                from.extend_from_slice(key);
                from.push(0);
            }
            if rows.len() < CENSUS_ROWS_MAX {
                return Ok(());
            }
        }
    }

    /// The case of a tenant, read from the ledger if it is not cached.
    pub(super) fn case<'c, L: Ledger>(
        &'c mut self,
        ledger: &'c mut L,
        name: &'c str,
        now_ms: i64,
        effects: &'c mut Effects,
    ) -> Result<Case<'c, L>, L::Error> {
        let place = match self.places.get(name) {
            Some(&place) => place,
            None => {
                let tenant = self.read_tenant(ledger, name)?;
                let place = tenant.place;
                self.tenants.push(tenant);
                self.places.insert(name.into(), place);
                place
            }
        };
        let tenant = self.tenants.get_mut(place).ok_or(Corrupt("a tenant that was just cached"))?;
        let requests = Requests {
            holds: self.holds.of(name),
            erasures: self.erasures.of(name),
            stop: self.holds.stop(),
        };
        let desk = &mut self.desk;
        Ok(Case { class: self.class, name, tenant, requests, desk, ledger, now_ms, effects })
    }

    fn read_tenant<L: Ledger>(&mut self, ledger: &mut L, name: &str) -> Result<Tenant, L::Error> {
        let mut value = Vec::new();
        key::of_text(tag::BOOKS, name, &mut self.desk.key);
        let known = ledger.get(&self.desk.key, &mut value)?;
        let books = if known { Books::read(&value)? } else { Books::default() };
        let mut rules = Rules::unknown(self.class);
        let choice = Subject::Tenant(name.to_owned());
        match self.in_force(ledger, &choice)? {
            Some((Some(Statement::Tenant(choice)), offset)) => {
                rules.choose(Some(&choice), Some(offset));
            }
            // It was withdrawn: by that record the tenant is out.
            Some((_, offset)) => rules.choose(None, Some(offset)),
            None => {}
        }
        let terms = Subject::Terms(name.to_owned());
        if let Some((Some(Statement::Terms(terms)), offset)) = self.in_force(ledger, &terms)? {
            rules.terms = terms;
            rules.terms_policy = Some(offset);
        }
        rules.ended = books.ended_at_ms.is_some();
        let (name, place, newest) = (name.into(), self.tenants.len(), Newest::default());
        Ok(Tenant { name, place, books, rules, dirty: false, newest, conversations: None })
    }

    /// What the record in force says about a tenant's subject, with its offset.
    fn in_force<L: Ledger>(
        &mut self,
        ledger: &mut L,
        subject: &Subject,
    ) -> Result<Option<(Option<Statement>, i64)>, L::Error> {
        let Some(control) = self.read_control(ledger, &subject.key())? else {
            return Ok(None);
        };
        let Some(record) = control.in_force else {
            return Ok(None);
        };
        let statement = record.body.map(|body| subject.statement(&body)).transpose();
        let statement = statement.map_err(|_| Corrupt("a control record's body"))?;
        Ok(Some((statement, record.offset)))
    }

    pub(super) fn read_control<L: Ledger>(
        &mut self,
        ledger: &mut L,
        control_key: &str,
    ) -> Result<Option<Control>, L::Error> {
        key::of_text(tag::CONTROL, control_key, &mut self.desk.key);
        let found = ledger.get(&self.desk.key, &mut self.desk.value)?;
        Ok(found.then(|| Control::read(&self.desk.value)).transpose()?)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.suspended || self.holds.stop().is_some()
    }

    pub(super) fn touch_partition(&mut self) {
        self.partition_dirty = true;
    }

    fn read_partition<L: Ledger>(&mut self, ledger: &mut L) -> Result<(), L::Error> {
        key::first(tag::PARTITION, &mut self.desk.key);
        if ledger.get(&self.desk.key, &mut self.desk.value)? {
            let corrupt = Corrupt("the partition's row");
            let (offset, rest) = self.desk.value.split_first_chunk::<8>().ok_or(corrupt)?;
            self.control_offset = i64::from_be_bytes(*offset);
            self.suspended = rest.first().is_some_and(|&suspended| suspended != 0);
        }
        Ok(())
    }

    fn read_rebuilt<L: Ledger>(&mut self, ledger: &mut L) -> Result<(), L::Error> {
        key::first(tag::REBUILT, &mut self.desk.key);
        if ledger.get(&self.desk.key, &mut self.desk.value)? {
            self.desk.rebuilt = Some(Rebuilt::read(&self.desk.value)?);
        }
        Ok(())
    }

    fn read_holds<L: Ledger>(&mut self, ledger: &mut L) -> Result<(), L::Error> {
        let (mut from, mut to, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        key::of_text(tag::CONTROL, "hold/", &mut from);
        to.extend_from_slice(&from);
        key::end_of_prefix(&mut to);
        ledger.scan(&from, &to, usize::MAX, &mut rows)?;
        for (key, value) in rows.iter() {
            let control_key = key::read_text(key)?;
            let Some(record) = Control::read(value)?.in_force else {
                continue;
            };
            let Some(body) = record.body else { continue };
            let statement = Subject::Hold.statement(&body).map_err(|_| Corrupt("a hold's body"))?;
            if let Statement::Hold(hold) = statement {
                self.holds.change(control_key, Some((hold, record.offset)));
            }
        }
        Ok(())
    }
}
