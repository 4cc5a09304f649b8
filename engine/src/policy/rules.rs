//! What all control records together say of one tenant's records of one class.

use super::duration::Retention;
use super::tenant::{Choice, TenantChoice};
use super::terms::Terms;
use crate::Class;
use crate::lifecycle::PolicyOffset;

/// The rules of one tenant and class that are in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    class: Class,
    choice: Choice,
    /// The control record that chose; none: the tenant has said nothing.
    pub choice_policy: PolicyOffset,
    /// The tenant's terms.
    pub terms: Terms,
    /// The control record that set them; none: the defaults.
    pub terms_policy: PolicyOffset,
    /// The end of its use has been carried out: it is treated as opted out.
    pub ended: bool,
}

impl Rules {
    /// Rules of a tenant that has said nothing: opted out. Configuration is kept while it is in use.
    #[must_use]
    pub fn unknown(class: Class) -> Self {
        let choice = match class {
            Class::Message | Class::Profile => Choice::Out,
            Class::Config => Choice::In { retention: Retention::Forever, since_ms: None },
        };
        Self {
            class,
            choice,
            choice_policy: None,
            terms: Terms::default(),
            terms_policy: None,
            ended: false,
        }
    }

    /// Takes the tenant's choice; none: withdrawn. For configuration there is nothing to choose.
    pub fn choose(&mut self, choice: Option<&TenantChoice>, policy: PolicyOffset) {
        self.choice = match (self.class, choice) {
            (Class::Message, Some(choice)) => choice.message,
            (Class::Profile, Some(choice)) => choice.profile,
            (Class::Message | Class::Profile, None) => Choice::Out,
            (Class::Config, _) => return,
        };
        self.choice_policy = policy;
    }

    /// Whose rules they are.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// Whether content is stored: the tenant opted in, and its use has not ended.
    #[must_use]
    pub fn stores(&self) -> bool {
        !self.ended && self.chose_in()
    }

    /// Whether the tenant's choice is to store, whatever became of its use.
    #[must_use]
    pub fn chose_in(&self) -> bool {
        matches!(self.choice, Choice::In { .. })
    }

    /// What was sent before this is treated as opted out, where the tenant said so (Unix ms).
    #[must_use]
    pub fn since_ms(&self) -> Option<i64> {
        match self.choice {
            Choice::In { since_ms, .. } => since_ms,
            Choice::Out => None,
        }
    }

    /// The retention of stored content and who decided it: a conversation's own, else the tenant's,
    /// capped by the maximum. Configuration has none of its own.
    #[must_use]
    pub fn retention(&self, own: Option<(Retention, i64)>) -> (Retention, PolicyOffset) {
        let (chosen, policy) = match (self.choice, own) {
            (_, Some((retention, offset))) => (retention, Some(offset)),
            (Choice::In { retention, .. }, None) => (retention, self.choice_policy),
            (Choice::Out, None) => (Retention::Ms(0), self.choice_policy),
        };
        if self.class == Class::Config {
            return (Retention::Forever, policy);
        }
        let capped = chosen.min(self.terms.maximum);
        (capped, if capped == chosen { policy } else { self.terms_policy })
    }

    /// How long content may be in transit; configuration never is.
    #[must_use]
    pub fn transit_limit_ms(&self) -> i64 {
        match self.class {
            Class::Message | Class::Profile => self.terms.transit_limit_ms,
            Class::Config => 0,
        }
    }

    /// Who decided that content is in transit.
    #[must_use]
    pub fn transit_policy(&self) -> PolicyOffset {
        self.choice_policy.or(self.terms_policy)
    }
}
