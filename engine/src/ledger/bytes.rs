//! How numbers and texts are written in a row's value: LEB128 varints, and texts with their length.

use super::Corrupt;

pub(super) fn push_u64(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Zigzag: small numbers of either sign stay short.
pub(super) fn push_i64(bytes: &mut Vec<u8>, number: i64) {
    push_u64(bytes, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// None is 0; a number is itself and one more, so it must be below `u64::MAX`.
pub(super) fn push_optional_i64(bytes: &mut Vec<u8>, number: Option<i64>) {
    bytes.push(u8::from(number.is_some()));
    if let Some(number) = number {
        push_i64(bytes, number);
    }
}

pub(super) fn push_slice(bytes: &mut Vec<u8>, slice: &[u8]) {
    push_u64(bytes, slice.len() as u64);
    bytes.extend_from_slice(slice);
}

/// Reads a value from its start; every method says what did not decode.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    what: Corrupt,
}

impl<'a> Reader<'a> {
    pub(super) fn new(value: &'a [u8], what: &'static str) -> Self {
        Self { rest: value, what: Corrupt(what) }
    }

    pub(super) fn byte(&mut self) -> Result<u8, Corrupt> {
        let (&byte, rest) = self.rest.split_first().ok_or(self.what)?;
        self.rest = rest;
        Ok(byte)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Corrupt> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.what)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Corrupt> {
        u32::try_from(self.u64()?).map_err(|_| self.what)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Corrupt> {
        let number = self.u64()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub(super) fn optional_i64(&mut self) -> Result<Option<i64>, Corrupt> {
        match self.byte()? {
            0 => Ok(None),
            1 => Ok(Some(self.i64()?)),
            _ => Err(self.what),
        }
    }

    pub(super) fn slice(&mut self) -> Result<&'a [u8], Corrupt> {
        let length = usize::try_from(self.u64()?).map_err(|_| self.what)?;
        let (slice, rest) = self.rest.split_at_checked(length).ok_or(self.what)?;
        self.rest = rest;
        Ok(slice)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Corrupt> {
        std::str::from_utf8(self.slice()?).map_err(|_| self.what)
    }

    pub(super) fn fixed_u64(&mut self) -> Result<u64, Corrupt> {
        let (bytes, rest) = self.rest.split_first_chunk::<8>().ok_or(self.what)?;
        self.rest = rest;
        Ok(u64::from_be_bytes(*bytes))
    }

    /// Whether nothing follows: a field that came later may be absent.
    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// A value must end where its last field does.
    pub(super) fn end(self) -> Result<(), Corrupt> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.what) }
    }
}
