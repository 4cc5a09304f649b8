//! `lethe.v1.ProfileEvent` and `lethe.v1.ConfigEvent`, read in place: they have the same fields.

use lethe_engine::{VersionAction, VersionEvent};

use super::wire::Fields;
use super::{DecodeError, TimeLimits, limits};

pub(super) fn decode(value: &[u8], times: TimeLimits) -> Result<VersionEvent<'_>, DecodeError> {
    let (mut tenant, mut id, mut updated_at_ms, mut action) = ("", "", 0, None);
    let mut fields = Fields::new(value);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => tenant = fields.string(field)?,
            2 => id = fields.string(field)?,
            3 => updated_at_ms = fields.int64(field)?,
            number @ 4..=5 => {
                // Neither message has a field, so that there is nothing to merge.
                fields.message(field)?.skip_all()?;
                let removed = number == 5;
                action = Some(if removed { VersionAction::Removed } else { VersionAction::Set });
            }
            _ => fields.skip(field)?,
        }
    }
    Ok(VersionEvent {
        action: action.ok_or(DecodeError::NoEvent)?,
        tenant: limits::tenant(tenant)?,
        id: limits::id(id)?,
        updated_at_ms: times.time(updated_at_ms)?,
    })
}
