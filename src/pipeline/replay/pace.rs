//! How fast what is read again may be taken: after the live input, and within the rate that was asked for.

use std::time::Duration;

/// Records of a slice: some 3 ms, for as long as the live input is not looked at.
const SLICE_RECORDS: usize = 1_024;
/// The same while the live input flows.
const SLICE_RECORDS_BESIDE: usize = 256;
/// Records that a batch takes of replays while the live input flows: a batch is committed as a whole, and what is
/// live waits for all of it.
const BATCH_RECORDS_BESIDE: usize = 4_096;
/// Bytes of the same.
const BATCH_BYTES_BESIDE: usize = 2 << 20;
/// The live input counts as flowing for so long after its last record.
const FLOWS: Duration = Duration::from_secs(1);
/// A rate may be caught up with for so long: a commit takes its time.
const BURST: Duration = Duration::from_millis(250);
/// After a poll that brought nothing, the live input is waited for so long, before the next.
const PAUSE: Duration = Duration::from_millis(2);

/// What paces a worker's replays.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Pace {
    /// When the live input last had a record.
    live_at: Option<Duration>,
    /// Records that the rate still allows, as of a moment.
    allowed: f64,
    counted_at: Option<Duration>,
    /// Nothing is read before this moment.
    rest_until: Duration,
}

impl Pace {
    /// The live input had a record.
    pub(in crate::pipeline) fn live(&mut self, now: Duration) {
        self.live_at = Some(now);
    }

    /// Records were taken.
    pub(super) fn taken(&mut self, records: usize) {
        self.allowed -= f64::from(u32::try_from(records).unwrap_or(u32::MAX));
    }

    /// Nothing came: there is no hurry.
    pub(super) fn nothing_came(&mut self, now: Duration) {
        self.rest(now, PAUSE);
    }

    /// Nothing is read for a while.
    pub(super) fn rest(&mut self, now: Duration, pause: Duration) {
        self.rest_until = now + pause;
    }

    /// Until when nothing is to be read.
    pub(super) fn rests_for(&self, now: Duration) -> Option<Duration> {
        self.rest_until.checked_sub(now).filter(|rest| !rest.is_zero())
    }

    /// How many records the next slice may take, of a replay that may take so many a second here, beside so
    /// many records and bytes of replays that the batch has already.
    pub(super) fn slice(
        &mut self,
        now: Duration,
        rate: Option<f64>,
        (records, bytes): (usize, usize),
    ) -> usize {
        let flows = self.live_at.is_some_and(|at| now.saturating_sub(at) < FLOWS);
        let slice = match (flows, bytes < BATCH_BYTES_BESIDE) {
            (false, _) => SLICE_RECORDS,
            (true, true) => SLICE_RECORDS_BESIDE.min(BATCH_RECORDS_BESIDE.saturating_sub(records)),
            (true, false) => return 0,
        };
        match rate {
            None => slice,
            Some(rate) => self.within(now, rate, slice),
        }
    }

    fn within(&mut self, now: Duration, rate: f64, slice: usize) -> usize {
        let burst = (rate * BURST.as_secs_f64()).max(1.0);
        let since = self.counted_at.replace(now).map_or(BURST, |at| now.saturating_sub(at));
        self.allowed = (self.allowed + rate * since.as_secs_f64()).min(burst);
        if self.allowed < 1.0 {
            let wait = (1.0 - self.allowed) / rate;
            self.rest(now, Duration::from_secs_f64(wait.min(BURST.as_secs_f64())));
            return 0;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least one, and bounded by the slice"
        )]
        let allowed = self.allowed as usize;
        slice.min(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn beside_the_live_input_a_batch_takes_little() {
        let mut pace = Pace::default();
        let full = (BATCH_RECORDS_BESIDE, 0);
        assert_eq!(pace.slice(at(0), None, full), SLICE_RECORDS);
        pace.live(at(0));
        assert_eq!(pace.slice(at(1), None, (0, 0)), SLICE_RECORDS_BESIDE);
        assert_eq!(pace.slice(at(1), None, (BATCH_RECORDS_BESIDE - 1, 0)), 1);
        assert_eq!(pace.slice(at(1), None, full), 0);
        assert_eq!(pace.slice(at(1), None, (1, BATCH_BYTES_BESIDE)), 0);
        assert_eq!(pace.slice(at(2_000), None, full), SLICE_RECORDS);
    }

    #[test]
    fn a_rate_is_kept_on_average() {
        let mut pace = Pace::default();
        let mut taken = 0;
        for ms in 0..10_000 {
            let slice = pace.slice(at(ms), Some(100.0), (0, 0));
            pace.taken(slice);
            taken += slice;
        }
        assert!((1_000..=1_030).contains(&taken), "{taken}");
    }

    #[test]
    fn a_rate_of_less_than_one_a_second_comes_to_its_turn() {
        let mut pace = Pace::default();
        let taken: usize = (0..100)
            .map(|number| {
                let slice = pace.slice(at(number * 250), Some(0.5), (0, 0));
                pace.taken(slice);
                slice
            })
            .sum();
        assert!((12..=14).contains(&taken), "{taken}");
    }
}
