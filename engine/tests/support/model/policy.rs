//! What the control topic said, for each tenant: the rules in force and every set of rules before them.
//!
//! Invariant: nothing is summed up. Every question about the past is answered from the whole list.

use std::collections::BTreeMap;

use lethe_engine::{Class, Reason, Storage};
use serde_json::Value;

use super::{Is, Slot};
use crate::support::history::START_MS;

/// No end.
pub const FOREVER: i64 = i64::MAX / 4;
const DAY: i64 = 24 * 3_600_000;

/// The rules of one tenant for one class, at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The tenant opted in, and its use has not ended.
    pub opted_in: bool,
    /// What was sent before this is treated as opted out.
    pub since: i64,
    retention: i64,
    conversations: BTreeMap<String, i64>,
    pub transit_limit: i64,
    pub minimum: i64,
    maximum: i64,
    /// When everything of the tenant ends.
    pub ends_at: i64,
    /// That moment has come.
    pub ended: bool,
    /// A hold on every tenant.
    pub stop: bool,
    /// The holds on the tenant, with the first and last sent time that they cover.
    holds: Vec<(Scope, i64, i64)>,
    /// The erasures on the tenant, by their keys.
    erasures: Vec<(String, Erasure)>,
}

/// Some of a tenant's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    tenant: String,
    conversation: Option<String>,
    user: Option<String>,
    message: Option<String>,
}

/// An erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    scope: Scope,
    before: i64,
    standing: bool,
    /// It was taken back: perhaps before it was carried out.
    withdrawn: bool,
}

impl Scope {
    fn of(body: &Value) -> Self {
        let field = |name: &str| body.get(name).map(|value| value.as_str().unwrap().to_owned());
        Self {
            tenant: field("tenant").unwrap(),
            conversation: field("conversation"),
            user: field("user"),
            message: field("message"),
        }
    }

    fn covers(&self, slot: &Slot) -> bool {
        let fits = |named: &Option<String>, has: &Option<String>| named.is_none() || named == has;
        slot.tenant == self.tenant
            && fits(&self.conversation, &slot.conversation)
            && fits(&self.user, &slot.user)
            && fits(&self.message, &slot.message)
    }
}

impl Erasure {
    /// How it ends what is there.
    pub fn ends(&self, slot: &Slot) -> Option<Reason> {
        if !self.scope.covers(slot) {
            None
        } else if slot.own < self.before {
            Some(Reason::Erased)
        } else if self.standing && slot.storage == Storage::Stored && slot.is_optional {
            Some(Reason::OptedOut)
        } else {
            None
        }
    }
}

impl Rules {
    /// The retention in a conversation.
    pub fn retention(&self, conversation: &str) -> i64 {
        self.conversations.get(conversation).copied().unwrap_or(self.retention).min(self.maximum)
    }

    /// Whether a hold covers it.
    pub fn holds(&self, slot: &Slot) -> bool {
        let covers = |(scope, from, until): &(Scope, i64, i64)| {
            scope.covers(slot) && (from..=until).contains(&&slot.own)
        };
        slot.storage == Storage::Stored && (self.stop || self.holds.iter().any(covers))
    }

    /// Whether a hold keeps it from being tombstoned.
    pub fn keeps(&self, slot: &Slot) -> bool {
        self.stop || self.holds(slot)
    }

    /// Whether a hold without an end covers all that was sent then, or later.
    pub fn freezes(&self, sent_at: i64) -> bool {
        let covers = |(scope, from, until): &(Scope, i64, i64)| {
            let all = scope.conversation.is_none() && scope.user.is_none();
            all && *until == FOREVER && *from <= sent_at
        };
        self.stop || self.holds.iter().any(covers)
    }

    /// Whether an erasure that was asked for before ends what comes now.
    pub fn erases(&self, slot: &Slot) -> Is {
        let covers = |erasure: &Erasure| erasure.scope.covers(slot) && slot.own < erasure.before;
        self.asked(covers)
    }

    /// Whether an erasure that stands has it treated as opted out.
    pub fn opts_out(&self, slot: &Slot) -> Is {
        self.asked(|erasure| {
            erasure.standing
                && slot.is_optional
                && erasure.scope.covers(slot)
                && slot.own >= erasure.before
        })
    }

    fn asked(&self, covers: impl Fn(&Erasure) -> bool) -> Is {
        let found = self.erasures.iter().filter(|(_, erasure)| covers(erasure));
        let found = found.map(|(_, erasure)| if erasure.withdrawn { Is::Maybe } else { Is::Yes });
        found.max().unwrap_or(Is::No)
    }

    /// Whether what was sent then is the tenant's to keep.
    pub fn covers(&self, sent_at: i64) -> bool {
        self.opted_in && sent_at >= self.since
    }
}

/// Rules that were in force once.
#[derive(Clone, Debug)]
pub struct Past {
    pub rules: Rules,
    /// What they ended up to here has ended (of a conversation, if a change of that alone ended them).
    until: i64,
    conversation: Option<String>,
    /// What they ended between that and here may have: the clock had shown it when the change came.
    pub until_maybe: i64,
}

impl Past {
    /// Up to when it is certain what these rules ended, in a conversation.
    pub fn until(&self, conversation: Option<&str>) -> i64 {
        let concerns = self.conversation.is_none() || self.conversation.as_deref() == conversation;
        if concerns { self.until } else { i64::MIN }
    }

    /// The same for what was in transit, which no conversation has a say in.
    pub fn transit_until(&self) -> i64 {
        self.until(None)
    }
}

/// One tenant.
#[derive(Clone, Debug)]
pub struct Tenant {
    choice: Option<Value>,
    terms: Option<Value>,
    conversations: BTreeMap<String, Value>,
    /// It has chosen storage, whether its use has ended or not.
    chose_in: bool,
    /// When it last went from out to in: its choice alone, not its end.
    went_in: i64,
    pub now: Rules,
    pub past: Vec<Past>,
    /// The last time that something ended everything stored: what was sent up to here may be over.
    pub floor: i64,
    /// When its use last ended.
    pub ended_until: i64,
}

/// A change that has come into force.
pub struct Change {
    pub tenant: String,
    pub at: i64,
    /// Stored content ended by it: the tenant opted out.
    pub opted_out: bool,
    /// Everything ended by it.
    pub ended: bool,
    /// Stored content that was sent before ended by it: the tenant named a later `since`.
    pub since: i64,
    /// What it covers ended by it.
    pub erasure: Option<Erasure>,
}

/// Everything said on the control topic.
#[derive(Clone, Debug)]
pub struct Policies {
    class: Class,
    tenants: BTreeMap<String, Tenant>,
    /// By key.
    holds: BTreeMap<String, Value>,
    /// By key; taken back, they stay as such.
    erasures: Vec<(String, Erasure)>,
    /// When the record of a key was written.
    written: BTreeMap<String, i64>,
    waiting: BTreeMap<String, (i64, Option<Value>)>,
}

impl Policies {
    pub fn new(class: Class) -> Self {
        Self {
            class,
            tenants: BTreeMap::new(),
            holds: BTreeMap::new(),
            erasures: Vec::new(),
            written: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    pub fn tenant(&mut self, name: &str) -> &mut Tenant {
        let requests = self.requests(name);
        let class = self.class;
        self.tenants.entry(name.to_owned()).or_insert_with(|| Tenant::new(class, &requests))
    }

    pub fn tenants(&self) -> impl Iterator<Item = (&String, &Tenant)> {
        self.tenants.iter()
    }

    /// When something comes into force next, and what.
    pub fn next_due(&self) -> Option<(i64, Due)> {
        let waiting = self.waiting.iter().map(|(key, (at, _))| (*at, Due::Waiting(key.clone())));
        let ends = self
            .tenants
            .iter()
            .filter(|(_, tenant)| !tenant.now.ended && tenant.now.ends_at < FOREVER);
        let ends = ends.map(|(name, tenant)| (tenant.now.ends_at, Due::End(name.clone())));
        waiting.chain(ends).min()
    }

    /// Whether a record with this key waits for its time.
    pub fn is_waiting(&self, key: &str) -> bool {
        self.waiting.contains_key(key)
    }

    /// Takes a valid record: whom it changes, and when; nothing, if it waits.
    pub fn take(&mut self, key: &str, value: Option<&str>, written: i64, now: i64) -> Option<i64> {
        let at = written.min(now);
        self.written.insert(key.to_owned(), written);
        let body: Option<Value> = value.map(|text| serde_json::from_str(text).unwrap());
        let effective =
            body.as_ref().and_then(|body| body.get("effective_at")).map(time).unwrap_or(at).max(at);
        self.waiting.insert(key.to_owned(), (effective, body));
        (effective <= now).then_some(effective)
    }

    /// The tenants that a record about this key touches.
    pub fn touched(&mut self, key: &str) -> Vec<String> {
        let parts: Vec<&str> = key.split('/').collect();
        match parts[0] {
            "tenant" | "terms" | "conversation" => {
                self.tenant(parts[1]);
                vec![parts[1].to_owned()]
            }
            "hold" | "erasure" => self.tenants.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Puts a waiting record in force.
    pub fn put_in_force(&mut self, key: &str, at: i64, now_max: i64) -> Vec<Change> {
        let (_, body) = self.waiting.remove(key).unwrap();
        let parts: Vec<&str> = key.split('/').collect();
        let mut erasure = None;
        if parts[0] == "hold" {
            match body {
                Some(body) => self.holds.insert(key.to_owned(), body),
                None => self.holds.remove(key),
            };
        } else if parts[0] == "erasure" {
            let before = self.erasures.iter_mut().filter(|(of, _)| of == key);
            before.for_each(|(_, erasure)| erasure.withdrawn = true);
            if let Some(body) = body {
                self.tenant(body["tenant"].as_str().unwrap());
                let asked = Erasure {
                    scope: Scope::of(&body),
                    before: body.get("before").map_or(self.written[key], time),
                    standing: body.get("standing").is_some(),
                    withdrawn: false,
                };
                self.erasures.push((key.to_owned(), asked.clone()));
                erasure = Some(asked);
            }
        } else if let "tenant" | "terms" | "conversation" = parts[0] {
            let tenant = self.tenant(parts[1]);
            match parts[0] {
                "tenant" => tenant.choice = body,
                "terms" => tenant.terms = body,
                _ => match body {
                    Some(body) => drop(tenant.conversations.insert(parts[2].to_owned(), body)),
                    None => drop(tenant.conversations.remove(parts[2])),
                },
            }
        }
        let touched = self.touched(key);
        let conversation = parts.get(2).copied();
        let closes = !matches!(parts[0], "hold" | "erasure");
        let changes =
            touched.iter().filter_map(|name| self.renew(name, at, now_max, closes, conversation));
        changes.map(|change| Change { erasure: erasure.clone(), ..change }).collect()
    }

    /// Puts a tenant's end in force.
    pub fn end(&mut self, name: &str, at: i64, now_max: i64) -> Vec<Change> {
        self.renew(name, at, now_max, true, None).into_iter().collect()
    }

    /// Works out a tenant's rules again, as of a time.
    fn renew(
        &mut self,
        name: &str,
        at: i64,
        now_max: i64,
        closes: bool,
        conversation: Option<&str>,
    ) -> Option<Change> {
        let class = self.class;
        let requests = self.requests(name);
        let tenant = self.tenants.get_mut(name)?;
        let had_chosen = tenant.chose_in;
        let rules = tenant.rules(class, at, &requests);
        let (was_in, had_ended, since) = (tenant.now.opted_in, tenant.now.ended, tenant.now.since);
        let until = if closes { at } else { i64::MIN };
        let past = std::mem::replace(&mut tenant.now, rules);
        tenant.past.push(Past {
            rules: past,
            until,
            conversation: conversation.map(str::to_owned),
            until_maybe: now_max.max(until),
        });
        if had_ended && !tenant.now.ended {
            tenant.ended_until = tenant.ended_until.max(now_max);
        }
        Some(Change {
            tenant: name.to_owned(),
            at,
            // By its choice, as going in is: whether its use has ended or not.
            opted_out: had_chosen && !tenant.chose_in,
            ended: tenant.now.ended && !had_ended,
            since: if was_in && tenant.now.opted_in && tenant.now.since > since {
                tenant.now.since
            } else {
                i64::MIN
            },
            erasure: None,
        })
    }

    /// What holds and erasures say of a tenant.
    fn requests(&self, name: &str) -> Requests {
        let holds = self.holds.values().map(|body| {
            let bound = |field: &str, none: i64| body.get(field).map_or(none, time);
            (Scope::of(body), bound("from", -FOREVER), bound("until", FOREVER))
        });
        let holds: Vec<_> = holds.collect();
        let of_tenant = |scope: &Scope| scope.tenant == name;
        let erasures = self.erasures.iter().filter(|(_, erasure)| of_tenant(&erasure.scope));
        Requests {
            stop: holds.iter().any(|(scope, ..)| scope.tenant == "*"),
            holds: holds.iter().filter(|(scope, ..)| of_tenant(scope)).cloned().collect(),
            erasures: erasures.cloned().collect(),
        }
    }
}

/// What holds and erasures say of a tenant.
struct Requests {
    stop: bool,
    holds: Vec<(Scope, i64, i64)>,
    erasures: Vec<(String, Erasure)>,
}

/// Something that comes into force by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    Waiting(String),
    End(String),
}

impl Tenant {
    fn new(class: Class, requests: &Requests) -> Self {
        let mut tenant = Self {
            choice: None,
            terms: None,
            conversations: BTreeMap::new(),
            chose_in: false,
            went_in: 0,
            now: Rules {
                opted_in: false,
                since: 0,
                retention: 0,
                conversations: BTreeMap::new(),
                transit_limit: 0,
                minimum: 0,
                maximum: 0,
                ends_at: FOREVER,
                ended: false,
                stop: false,
                holds: Vec::new(),
                erasures: Vec::new(),
            },
            past: Vec::new(),
            floor: i64::MIN,
            ended_until: i64::MIN,
        };
        tenant.now = tenant.rules(class, i64::MIN / 4, requests);
        tenant
    }

    /// The rules that follow from what was said, as of a time.
    fn rules(&mut self, class: Class, at: i64, requests: &Requests) -> Rules {
        let terms = self.terms.clone().unwrap_or(Value::Null);
        let ends_at = terms.get("ended_at").map_or(FOREVER, |ended| two_months_after(time(ended)));
        let ended = ends_at <= at;
        let choice = self.choice.as_ref().and_then(|choice| choice.get(class.name()));
        let wants_in =
            class == Class::Config || choice.is_some_and(|choice| choice["storage"] == "in");
        let opted_in = wants_in && !ended;
        let was_in = std::mem::replace(&mut self.chose_in, wants_in);
        if wants_in && !was_in {
            self.went_in = at;
        }
        let field = |name: &str, default: i64| terms.get(name).map_or(default, duration);
        let retention = choice.and_then(|choice| choice.get("retention")).map_or(7 * DAY, duration);
        let since = choice.and_then(|choice| choice.get("since")).map_or(self.went_in, time);
        let of_conversation = |body: &Value| duration(&body["retention"]);
        let is_config = class == Class::Config;
        Rules {
            opted_in,
            since: if is_config { i64::MIN } else { since },
            retention: if is_config { FOREVER } else { retention },
            conversations: self
                .conversations
                .iter()
                .map(|(name, body)| (name.clone(), of_conversation(body)))
                .collect(),
            transit_limit: field("transit_limit", DAY),
            minimum: field("minimum", 0),
            maximum: if is_config { FOREVER } else { field("maximum", 3650 * DAY) },
            ends_at,
            ended,
            stop: requests.stop,
            holds: requests.holds.clone(),
            erasures: requests.erasures.clone(),
        }
    }
}

/// A time of a control record, written `@5` in histories.
fn time(value: &Value) -> i64 {
    crate::support::text::ms(value.as_str().unwrap().strip_prefix('@').unwrap())
}

fn duration(value: &Value) -> i64 {
    let text = value.as_str().unwrap();
    if text == "forever" {
        return FOREVER;
    }
    let (count, unit) = text.split_at(text.len() - 1);
    let unit = match unit {
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY,
        _ => panic!("not a duration: {text}"),
    };
    count.parse::<i64>().unwrap() * unit
}

/// Two calendar months later (UTC), counted day by day; a day that the month does not have becomes its last.
fn two_months_after(at: i64) -> i64 {
    let ended = START_MS + at;
    // 2020-01-01 is day 18,262; no history reaches further back.
    let (mut day, mut date) = (18_262, (2020, 1, 1));
    let mut days_by_date = BTreeMap::new();
    let mut of_ended = date;
    while day <= ended.div_euclid(DAY) + 70 {
        days_by_date.insert(date, day);
        if day == ended.div_euclid(DAY) {
            of_ended = date;
        }
        day += 1;
        date = next_day(date);
    }
    let (year, month, day) = of_ended;
    let (year, month) = if month > 10 { (year + 1, month - 10) } else { (year, month + 2) };
    let day = day.min(days_in(year, month));
    days_by_date[&(year, month, day)] * DAY + ended.rem_euclid(DAY) - START_MS
}

fn next_day((year, month, day): (i64, i64, i64)) -> (i64, i64, i64) {
    if day < days_in(year, month) {
        (year, month, day + 1)
    } else if month < 12 {
        (year, month + 1, 1)
    } else {
        (year + 1, 1, 1)
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
