//! What a report says to a person, on the status page.

use super::{ErasureDone, LedgerRebuilt, Report, What};
use crate::telemetry::reports::Reported;

impl Report {
    /// The same for the status page. The id of a conversation is left out: it may name users.
    #[must_use]
    pub fn told(&self, key: &str) -> Reported {
        let conversation = key.strip_prefix("conversation/").and_then(|rest| rest.split_once('/'));
        let about = match conversation {
            Some((tenant, _)) => format!("conversation/{tenant}/…"),
            None => key.to_owned(),
        };
        let what = match &self.what {
            What::ControlInForce { .. } | What::HoldInForce { .. } => "in force".to_owned(),
            What::HoldReleased { .. } => "released".to_owned(),
            What::ControlWaiting { effective_at_ms, .. } => {
                let at = jiff::Timestamp::from_millisecond(*effective_at_ms);
                at.map_or_else(|_| "waits".to_owned(), |at| format!("waits until {at}"))
            }
            What::ControlRefused { why, .. } => format!("refused: {why}"),
            What::TenantEnded { .. } => "the tenant's use has ended".to_owned(),
            What::ErasureDone(ErasureDone { class, partition, found, .. }) => {
                let waiting = found.held + found.minimum;
                format!("carried out in {class} {partition}: {} ended, {waiting} wait", found.ended)
            }
            What::ErasureCompleted { by_class, .. } => {
                let ended: u64 = by_class.values().map(|found| found.ended).sum();
                format!("carried out everywhere: {ended} ended")
            }
            What::ReplayDone(done) => format!("done in {} {}", done.class, done.partition),
            What::ReplayCancelled(done) => {
                format!("cancelled in {} {}", done.class, done.partition)
            }
            What::ReplayRefused(done) => {
                let why = done.why.as_deref().unwrap_or_default();
                format!("refused in {} {}: {why}", done.class, done.partition)
            }
            What::LedgerRebuilt(rebuilt) => {
                let LedgerRebuilt { author, class, partition, .. } = rebuilt;
                format!("the ledger of {class} {partition} was rebuilt by {}", author.by)
            }
            What::ChangeMade(made) => format!("changed by {}", made.author.by),
            What::ChangeConfirmed(confirmed) => format!("confirmed by {}", confirmed.author.by),
            What::ChangeRefused(refused) => format!("a change by {} refused", refused.author.by),
        };
        Reported { at_ms: self.at_ms, about, what }
    }
}

#[cfg(test)]
mod tests {
    use lethe_engine::Class;
    use lethe_engine::ledger::ErasureCounts;
    use lethe_engine::lifecycle::Audit;

    use super::*;
    use crate::pipeline::seam::PartitionId;

    #[test]
    fn a_person_is_told_what_it_is_about_but_no_conversation() {
        let id = PartitionId { class: Class::Message, partition: 3 };
        let told = |key: &str, what| {
            let told = Report::of_partition(id, what, 12).told(key);
            format!("{} {}: {}", told.at_ms, told.about, told.what)
        };
        let refused = Audit::ControlRefused { offset: 7, why: "retention" };
        assert_eq!(told("tenant/acme", refused), "12 tenant/acme: refused: retention");
        let waiting = Audit::ControlWaiting { offset: 7, effective_at_ms: 0 };
        assert_eq!(
            told("conversation/acme/ann%2Fbob", waiting),
            "12 conversation/acme/…: waits until 1970-01-01T00:00:00Z"
        );
        let counts = ErasureCounts { ended: 5, held: 1, minimum: 2, ..ErasureCounts::default() };
        assert_eq!(
            told("erasure/req-9", Audit::ErasureDone { offset: 7, at_ms: 9, counts }),
            "12 erasure/req-9: carried out in message 3: 5 ended, 3 wait"
        );
    }
}
