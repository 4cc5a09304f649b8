//! Tenants: how much they send, what they chose, and the control records that say so.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::event::record_key;

/// A tenant's choice for a class of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Stored, for so many seconds.
    In {
        /// The retention.
        retention_s: u32,
    },
    /// In transit only.
    Out,
}

/// A tenant of the traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub name: String,
    /// Its share of the messages, as a weight among the others'.
    pub weight: u32,
    /// What it chose for messages and for profiles; none: nobody ever said.
    pub choice: Option<(Choice, Choice)>,
    /// The transit limit of its terms in seconds; none: the default of 24 h.
    pub transit_limit_s: Option<u32>,
    /// The legal minimum of its terms in seconds.
    pub minimum_s: u32,
    /// A conversation with a retention of its own, in seconds.
    pub conversation: Option<(String, u32)>,
}

/// A record of `lethe.control`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl Tenant {
    /// A tenant of which nobody said anything.
    #[must_use]
    pub fn unknown(name: &str, weight: u32) -> Self {
        Self {
            name: name.to_owned(),
            weight,
            choice: None,
            transit_limit_s: None,
            minimum_s: 0,
            conversation: None,
        }
    }

    /// A tenant that chose.
    #[must_use]
    pub fn new(name: &str, weight: u32, message: Choice, profile: Choice) -> Self {
        Self { choice: Some((message, profile)), ..Self::unknown(name, weight) }
    }

    /// So many tenants with so many of them opted in, each sending less than the one before by Zipf's
    /// law: the one of rank n has a weight of 1 / n to the power of `skew`. 1 is usual for apps on a bus;
    /// with 0 all are alike.
    #[must_use]
    pub fn crowd(tenants: u32, opted_in: u32, skew: f64, retention_s: u32) -> Vec<Self> {
        /// Precision of the weights.
        const WEIGHT_MAX: f64 = 1_000_000.0;
        (0..tenants)
            .map(|rank| {
                // Spread over the ranks, so that large and small tenants are of both kinds.
                let part = u64::from(rank) * u64::from(opted_in) % u64::from(tenants.max(1));
                let is_in = part < u64::from(opted_in);
                let choice = if is_in { Choice::In { retention_s } } else { Choice::Out };
                // Ids as the bus makes them: ten digits.
                let name = (1_400_000_000 + u64::from(rank) * 7_919).to_string();
                let weight = WEIGHT_MAX / (f64::from(rank) + 1.0).powf(skew);
                Self::new(&name, (weight as u32).max(1), choice, choice)
            })
            .collect()
    }

    /// The control records that it needs.
    #[must_use]
    pub fn controls(&self) -> Vec<Control> {
        let mut controls = Vec::new();
        if let Some((message, profile)) = self.choice {
            controls.push(self.chooses(message, profile));
        }
        if self.transit_limit_s.is_some() || self.minimum_s > 0 {
            controls.push(self.terms(None));
        }
        if let Some((conversation, retention_s)) = &self.conversation {
            let value = json!({ "retention": seconds(*retention_s) });
            let key = record_key(&["conversation", &self.name, conversation]);
            controls.push(Control { key, value: value.to_string() });
        }
        controls
    }

    /// The record of a choice.
    #[must_use]
    pub fn chooses(&self, message: Choice, profile: Choice) -> Control {
        let value = json!({ "message": choice(message), "profile": choice(profile) });
        Control { key: record_key(&["tenant", &self.name]), value: value.to_string() }
    }

    /// The record of its terms, with the end of its use.
    #[must_use]
    pub fn terms(&self, ended_at: Option<Timestamp>) -> Control {
        let mut value = Map::new();
        if let Some(limit_s) = self.transit_limit_s {
            value.insert("transit_limit".into(), seconds(limit_s));
        }
        if self.minimum_s > 0 {
            value.insert("minimum".into(), seconds(self.minimum_s));
        }
        if let Some(ended_at) = ended_at {
            value.insert("ended_at".into(), ended_at.to_string().into());
        }
        let key = record_key(&["terms", &self.name]);
        Control { key, value: Value::Object(value).to_string() }
    }
}

fn choice(choice: Choice) -> Value {
    match choice {
        Choice::In { retention_s } => {
            json!({ "storage": "in", "retention": seconds(retention_s) })
        }
        Choice::Out => json!({ "storage": "out" }),
    }
}

fn seconds(seconds: u32) -> Value {
    format!("{seconds}s").into()
}

#[cfg(test)]
mod tests {
    use lethe_engine::ControlRecord;

    use super::*;

    #[test]
    fn every_record_is_valid() {
        let mut tenant = Tenant::new("a/b", 1, Choice::In { retention_s: 8 }, Choice::Out);
        tenant.transit_limit_s = Some(6);
        tenant.minimum_s = 5;
        tenant.conversation = Some(("c/1".to_owned(), 4));
        let mut controls = tenant.controls();
        controls.push(tenant.terms(Some(Timestamp::UNIX_EPOCH)));
        assert_eq!(controls.len(), 4);
        for Control { key, value } in controls {
            let record = ControlRecord::parse(0, 0, key.as_bytes(), Some(value.as_bytes()));
            assert_eq!(record.refusal(), None, "{key} {value}");
        }
    }

    #[test]
    fn a_crowd_has_as_many_opted_in_as_asked() {
        let crowd = Tenant::crowd(100, 70, 1.0, 60);
        let inside = crowd
            .iter()
            .filter(|tenant| matches!(tenant.choice, Some((Choice::In { .. }, Choice::In { .. }))));
        assert_eq!((crowd.len(), inside.count()), (100, 70));
        assert!(crowd.is_sorted_by(|a, b| a.weight >= b.weight));
        assert!(Tenant::crowd(9, 9, 0.0, 60).iter().all(|tenant| tenant.weight == 1_000_000));
    }
}
