//! What an id and a time may be: the limits of the contract's "Events".

use super::DecodeError;

/// Longest tenant: it is part of every ledger key and a label's value in reports.
pub const TENANT_BYTES_MAX: usize = 64;

/// Longest other id: three of them make a record key.
pub const ID_BYTES_MAX: usize = 256;

/// Beginnings that tenants may not have: keys of lethe's own start like this.
const RESERVED: &str = "lethe:";

/// The tenant that means all of them in a hold, and so names none.
const EVERY_TENANT: &str = "*";

/// The last millisecond of the year 9999, the end of RFC 3339.
pub const TIME_MS_MAX: i64 = 253_402_300_799_999;

/// How far events may be ahead of the later clock: a producer's clock may be wrong by this much.
pub const AHEAD_MS_MAX: i64 = 10 * 60 * 1000;

/// Against what the times of an event are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// The later of the host's and the broker's clock (Unix ms), so that a slow clock refuses nothing.
    pub latest_ms: i64,
}

impl TimeLimits {
    /// Checks a time of an event.
    pub(super) fn time(self, time_ms: i64) -> Result<i64, DecodeError> {
        let time_ms_max = self.latest_ms.saturating_add(AHEAD_MS_MAX).min(TIME_MS_MAX);
        if (0..=time_ms_max).contains(&time_ms) { Ok(time_ms) } else { Err(DecodeError::Time) }
    }
}

/// Checks a tenant.
pub(super) fn tenant(tenant: &str) -> Result<&str, DecodeError> {
    let valid = (1..=TENANT_BYTES_MAX).contains(&tenant.len())
        && tenant != EVERY_TENANT
        && !tenant.starts_with(RESERVED);
    if valid { Ok(tenant) } else { Err(DecodeError::Id) }
}

/// Checks any other id.
pub(super) fn id(id: &str) -> Result<&str, DecodeError> {
    if (1..=ID_BYTES_MAX).contains(&id.len()) { Ok(id) } else { Err(DecodeError::Id) }
}

/// Checks a time to live.
pub(super) fn ttl(ttl_ms: i64) -> Result<i64, DecodeError> {
    if ttl_ms < 0 { Err(DecodeError::Time) } else { Ok(ttl_ms) }
}
