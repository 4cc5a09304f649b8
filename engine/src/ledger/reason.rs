//! The numbers under which reasons are remembered. Never renumbered, never reused.

use super::Corrupt;
use crate::policy::Reason;

const NUMBERS: [(u8, Reason); 9] = [
    (1, Reason::Expired),
    (2, Reason::Delivered),
    (3, Reason::Undelivered),
    (4, Reason::Recalled),
    (5, Reason::Removed),
    (6, Reason::Erased),
    (7, Reason::OptedOut),
    (8, Reason::Ended),
    (9, Reason::Burned),
];

pub(super) fn number(reason: Reason) -> u8 {
    NUMBERS.iter().find(|(_, known)| *known == reason).map_or(0, |(number, _)| *number)
}

pub(super) fn of_number(number: u8) -> Result<Reason, Corrupt> {
    let known = NUMBERS.iter().find(|(known, _)| *known == number);
    known.map(|(_, reason)| *reason).ok_or(Corrupt("reason"))
}
