//! The keys of the ledger's rows: a tag byte, then parts whose byte order is the order of a scan.
//!
//! Invariant: a home key depends on the event alone (tenant, time, id), never on policy, so that events
//! in any order find the same entry and nothing ever moves.

use super::Corrupt;

/// The tags, one for each family of rows. Never renumbered, never reused.
pub mod tag {
    /// An alarm: deadline, then the home of the record that is to be judged.
    pub const ALARM: u8 = b'A';
    /// The ledger was put together from the outputs: up to where the input is past.
    pub const REBUILT: u8 = b'B';
    /// A conversation with a horizon of its own: tenant, conversation.
    pub const CONVERSATION: u8 = b'C';
    /// A control record that waits: effective time, control key.
    pub const WAITING: u8 = b'D';
    /// An entry in its home: tenant, time, id.
    pub const ENTRY: u8 = b'E';
    /// A kept entry, which the cursors have passed: tenant, time, id.
    pub const KEPT: u8 = b'K';
    /// The next look at a tenant: due time, tenant.
    pub const LOOK: u8 = b'L';
    /// The partition's own state: the control offset, the suspension.
    pub const PARTITION: u8 = b'M';
    /// The newest version of a profile or config item: tenant, id.
    pub const LATEST: u8 = b'N';
    /// A message that had ended when the ledger was put together: tenant, id.
    pub const OVER: u8 = b'O';
    /// The last valid control record of a key, and a waiting one: control key.
    pub const CONTROL: u8 = b'P';
    /// A recipient who has a message: the message's home, then a hash.
    pub const RECIPIENT: u8 = b'R';
    /// A sweep: the number that orders them.
    pub const SWEEP: u8 = b'S';
    /// A tenant's books: tenant.
    pub const BOOKS: u8 = b'T';
    /// A version that stands beside others: the record's home (of a profile or config item at time 0),
    /// then the version's time.
    pub const VERSION: u8 = b'V';
    /// An erasure: its control record's offset.
    pub const ERASURE: u8 = b'X';
    /// A replay: its first control record's offset.
    pub const REPLAY: u8 = b'Y';
    /// A record that a replay has emitted, or would have: the replay's number, then a hash.
    pub const REPLAYED: u8 = b'Z';
}

/// Where a time that no row can reach is written: after every valid time (the year 9999 and its end).
pub const TIME_MAX_MS: i64 = (1 << 48) - 1;

const TIME_BYTES: usize = 6;
/// Behind an id that something follows: a byte that no UTF-8 text has.
const ID_END: u8 = 0xFF;

/// A record's home: all that its keys are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Home<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The sent time of a message, the update time of a version (Unix ms).
    pub time_ms: i64,
    /// What follows the tenant in the record key: `conversation/message`, `user` or `item`, encoded.
    pub id: &'a str,
}

impl Home<'_> {
    /// Writes a key of one of the families that are ordered by home ([`tag::ENTRY`], [`tag::KEPT`]).
    pub fn write(&self, tag: u8, key: &mut Vec<u8>) {
        prefix(tag, self.tenant, key);
        push_time(key, self.time_ms);
        key.extend_from_slice(self.id.as_bytes());
    }

    /// Writes the key of a recipient's row.
    pub fn write_recipient(&self, recipient_hash: u64, key: &mut Vec<u8>) {
        self.write(tag::RECIPIENT, key);
        key.extend_from_slice(&recipient_hash.to_be_bytes());
    }

    /// Writes the key of a version that stands beside others.
    pub fn write_version(&self, version_ms: i64, key: &mut Vec<u8>) {
        self.write_versions(key);
        push_time(key, version_ms);
    }

    /// Writes the start that the versions of a record share, and nothing else.
    pub fn write_versions(&self, key: &mut Vec<u8>) {
        self.write(tag::VERSION, key);
        key.push(ID_END);
    }

    /// Writes the key of an alarm.
    pub fn write_alarm(&self, deadline_ms: i64, key: &mut Vec<u8>) {
        key.clear();
        key.push(tag::ALARM);
        push_time(key, deadline_ms);
        push_tenant(key, self.tenant);
        push_time(key, self.time_ms);
        key.extend_from_slice(self.id.as_bytes());
    }
}

/// Appends an id to a record key: `%` and `/` percent-encoded, so that two ids never share a key.
pub fn push_part(text: &mut String, part: &str) {
    // Most ids need no encoding.
    if memchr::memchr2(b'%', b'/', part.as_bytes()).is_none() {
        text.push_str(part);
        return;
    }
    for character in part.chars() {
        match character {
            '%' => text.push_str("%25"),
            '/' => text.push_str("%2F"),
            other => text.push(other),
        }
    }
}

/// Reads an id that [`push_part`] wrote.
#[must_use]
pub fn read_part(part: &str) -> String {
    part.replace("%2F", "/").replace("%25", "%")
}

/// Writes the start that all rows of a tenant in one family share.
pub fn prefix(tag: u8, tenant: &str, key: &mut Vec<u8>) {
    key.clear();
    key.push(tag);
    push_tenant(key, tenant);
}

/// Writes the start of a tenant's rows at a time; with one ms more it is the end of those before.
pub fn at_time(tag: u8, tenant: &str, time_ms: i64, key: &mut Vec<u8>) {
    prefix(tag, tenant, key);
    push_time(key, time_ms);
}

/// Writes the key of a row of a tenant and one further part ([`tag::LATEST`], [`tag::OVER`], [`tag::CONVERSATION`]).
pub fn of_tenant(tag: u8, tenant: &str, part: &str, key: &mut Vec<u8>) {
    prefix(tag, tenant, key);
    key.extend_from_slice(part.as_bytes());
}

/// Writes a key that is a tag and a text ([`tag::BOOKS`], [`tag::CONTROL`]).
pub fn of_text(tag: u8, text: &str, key: &mut Vec<u8>) {
    key.clear();
    key.push(tag);
    key.extend_from_slice(text.as_bytes());
}

/// Writes a key that is a tag, a time and a text ([`tag::LOOK`], [`tag::WAITING`]).
pub fn timed(tag: u8, time_ms: i64, text: &str, key: &mut Vec<u8>) {
    key.clear();
    key.push(tag);
    push_time(key, time_ms);
    key.extend_from_slice(text.as_bytes());
}

/// Writes the smallest key of a family.
pub fn first(tag: u8, key: &mut Vec<u8>) {
    key.clear();
    key.push(tag);
}

/// Turns a key into the first one behind all that begin with it.
pub fn end_of_prefix(key: &mut Vec<u8>) {
    while let Some(last) = key.pop() {
        if last < u8::MAX {
            key.push(last + 1);
            return;
        }
    }
}

/// Reads the home from a key of an entry, a kept entry or (its hash left off) a recipient.
pub fn read_home(key: &[u8]) -> Result<Home<'_>, Corrupt> {
    home_in(key.get(1..).unwrap_or_default()).ok_or(Corrupt("home key"))
}

/// Reads home and version time from a version's key.
pub fn read_version(key: &[u8]) -> Result<(Home<'_>, i64), Corrupt> {
    let corrupt = Corrupt("version key");
    let at = key.len().checked_sub(TIME_BYTES + 1).ok_or(corrupt)?;
    let (home, version) = key.split_at_checked(at).ok_or(corrupt)?;
    let version = version.get(1..).and_then(time_in).ok_or(corrupt)?;
    Ok((read_home(home)?, version.0))
}

/// Writes a key that is a tag and a number ([`tag::ERASURE`]).
pub fn numbered(tag: u8, number: i64, key: &mut Vec<u8>) {
    key.clear();
    key.push(tag);
    key.extend_from_slice(&number.max(0).to_be_bytes());
}

/// Reads the number from a key that [`numbered`] wrote.
pub fn read_number(key: &[u8]) -> Result<i64, Corrupt> {
    let number = key.get(1..).and_then(|rest| <[u8; 8]>::try_from(rest).ok());
    number.map(i64::from_be_bytes).ok_or(Corrupt("numbered key"))
}

/// Reads deadline and home from an alarm's key.
pub fn read_alarm(key: &[u8]) -> Result<(i64, Home<'_>), Corrupt> {
    let (deadline_ms, rest) = time_in(key.get(1..).unwrap_or_default()).ok_or(Corrupt("alarm"))?;
    Ok((deadline_ms, home_in(rest).ok_or(Corrupt("alarm's home"))?))
}

/// Reads time and text from a key that [`timed`] wrote.
pub fn read_timed(key: &[u8]) -> Result<(i64, &str), Corrupt> {
    let (time_ms, rest) = time_in(key.get(1..).unwrap_or_default()).ok_or(Corrupt("timed key"))?;
    Ok((time_ms, std::str::from_utf8(rest).map_err(|_| Corrupt("timed key's text"))?))
}

/// Reads the further part from a key that [`of_tenant`] wrote.
pub fn read_of_tenant(key: &[u8]) -> Result<&str, Corrupt> {
    let part = key
        .get(1..)
        .and_then(|key| key.split_first())
        .and_then(|(&length, rest)| std::str::from_utf8(rest.get(usize::from(length)..)?).ok());
    part.ok_or(Corrupt("a tenant's key"))
}

/// Reads the text from a key that [`of_text`] wrote.
pub fn read_text(key: &[u8]) -> Result<&str, Corrupt> {
    std::str::from_utf8(key.get(1..).unwrap_or_default()).map_err(|_| Corrupt("text key"))
}

/// Reads tenant and time from the start of a key that [`Home::write`] or [`of_tenant`] wrote.
pub(super) fn tenant_in(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = key.get(1..)?.split_first()?;
    rest.split_at_checked(usize::from(length))
}

pub(super) fn time_in(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (time, rest) = bytes.split_at_checked(TIME_BYTES)?;
    let time_ms = time.iter().fold(0_i64, |sum, &byte| (sum << 8) | i64::from(byte));
    Some((time_ms, rest))
}

fn home_in(bytes: &[u8]) -> Option<Home<'_>> {
    let (&length, rest) = bytes.split_first()?;
    let (tenant, rest) = rest.split_at_checked(usize::from(length))?;
    let (time_ms, id) = time_in(rest)?;
    Some(Home {
        tenant: std::str::from_utf8(tenant).ok()?,
        time_ms,
        id: std::str::from_utf8(id).ok()?,
    })
}

/// A tenant is at most 64 bytes long, so that its length fits a byte.
fn push_tenant(key: &mut Vec<u8>, tenant: &str) {
    key.push(u8::try_from(tenant.len()).unwrap_or(u8::MAX));
    key.extend_from_slice(tenant.as_bytes());
}

/// Six bytes reach the year 10889; a time outside is written as the nearest that fits.
fn push_time(key: &mut Vec<u8>, time_ms: i64) {
    let time = time_ms.clamp(0, TIME_MAX_MS).to_be_bytes();
    key.extend_from_slice(time.get(8 - TIME_BYTES..).unwrap_or_default());
}

/// Reads the time from the start of a key of a family that is ordered by time.
pub fn read_time(key: &[u8]) -> Result<i64, Corrupt> {
    let found = time_in(key.get(1..).unwrap_or_default());
    found.map(|(time_ms, _)| time_ms).ok_or(Corrupt("timed key"))
}
