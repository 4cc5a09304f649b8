//! The protobuf wire format, read in place with prost's primitives.
//!
//! Invariant: whatever prost accepts or refuses for the same types, this does too (held by the
//! differential tests). One exception: a group inside a nested message may be as deep as one at the
//! top (100), where prost counts the message as a level.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::DecodeError;

/// The fields of a message that are still to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// A field's number and the type that its bytes have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    wire_type: WireType,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field's key; its value must be read or skipped before the next call.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Field>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        // Nearly every key and length is a byte.
        if let Some((&key @ 0x08..0x80, rest)) = self.rest.split_first()
            && let Ok(wire_type) = WireType::try_from(u64::from(key & 0b111))
        {
            self.rest = rest;
            return Ok(Some(Field { number: u32::from(key >> 3), wire_type }));
        }
        match decode_key(&mut self.rest) {
            Ok((number, wire_type)) => Ok(Some(Field { number, wire_type })),
            Err(_) => Err(DecodeError::Malformed),
        }
    }

    /// The value of an `int64` field.
    #[inline]
    pub(super) fn int64(&mut self, field: Field) -> Result<i64, DecodeError> {
        self.varint(field).map(u64::cast_signed)
    }

    /// The value of a `uint32` field: of a longer one the low bits, as protobuf says.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "protobuf truncates longer values")]
    pub(super) fn uint32(&mut self, field: Field) -> Result<u32, DecodeError> {
        self.varint(field).map(|value| value as u32)
    }

    /// The value of a `bool` field.
    #[inline]
    pub(super) fn bool(&mut self, field: Field) -> Result<bool, DecodeError> {
        self.varint(field).map(|value| value != 0)
    }

    /// The value of a `string` field.
    #[inline]
    pub(super) fn string(&mut self, field: Field) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.delimited(field)?).map_err(|_| DecodeError::Malformed)
    }

    /// The fields of a nested message.
    #[inline]
    pub(super) fn message(&mut self, field: Field) -> Result<Fields<'a>, DecodeError> {
        self.delimited(field).map(Fields::new)
    }

    /// Steps over a field that lethe does not read; it must be well-formed all the same.
    #[inline]
    pub(super) fn skip(&mut self, field: Field) -> Result<(), DecodeError> {
        skip_field(field.wire_type, field.number, &mut self.rest, DecodeContext::default())
            .map_err(|_| DecodeError::Malformed)
    }

    /// Steps over all that is left.
    pub(super) fn skip_all(&mut self) -> Result<(), DecodeError> {
        while let Some(field) = self.next()? {
            self.skip(field)?;
        }
        Ok(())
    }

    #[inline]
    fn varint(&mut self, field: Field) -> Result<u64, DecodeError> {
        if field.wire_type != WireType::Varint {
            return Err(DecodeError::Malformed);
        }
        decode_varint(&mut self.rest).map_err(|_| DecodeError::Malformed)
    }

    #[inline]
    fn delimited(&mut self, field: Field) -> Result<&'a [u8], DecodeError> {
        if field.wire_type != WireType::LengthDelimited {
            return Err(DecodeError::Malformed);
        }
        let length = match self.rest.split_first() {
            Some((&length @ 0..0x80, rest)) => {
                self.rest = rest;
                u64::from(length)
            }
            _ => decode_varint(&mut self.rest).map_err(|_| DecodeError::Malformed)?,
        };
        let length = usize::try_from(length).map_err(|_| DecodeError::Malformed)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Malformed)?;
        self.rest = rest;
        Ok(bytes)
    }
}
