//! Whatever bytes come as a delta: rows, or an error that says what is wrong.

use lethe_engine::Ledger;
use lethe_state::{Delta, DeltaError};
use proptest::prelude::*;

use crate::support::{PART_BYTES, home, open};

/// The header of a part that says to be part 1 of 1 and to have this many rows.
fn header(rows: u32) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend_from_slice(&1_u64.to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
    bytes.extend_from_slice(&[0; 24]);
    bytes.extend_from_slice(&rows.to_be_bytes());
    bytes
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes
}

fn part(rows: u32, bytes: &[u8]) -> Vec<u8> {
    sealed([header(rows), bytes.to_vec()].concat())
}

/// Reads all rows, and says how many there were.
fn read(record: &[u8]) -> Result<usize, DeltaError> {
    let mut delta = Delta::decode(record)?;
    let mut rows = 0;
    while delta.next_row()?.is_some() {
        rows += 1;
    }
    Ok(rows)
}

#[test]
fn what_is_wrong_is_named() {
    let mut other_part = header(0);
    other_part[12] = 2;
    let mut part_zero = header(0);
    part_zero[12] = 0;
    let mut flipped = part(0, b"");
    flipped[20] ^= 1;
    let long_varint = [[0xff; 9].as_slice(), &[0x02]].concat();
    let cases = [
        ("nothing", vec![], Err(DeltaError::Empty)),
        ("another format", vec![2, 0, 0, 0, 0], Err(DeltaError::OtherFormat(2))),
        ("a format alone", vec![1], Err(DeltaError::TooShort)),
        ("a short header", sealed(vec![1, 2, 3]), Err(DeltaError::TooShort)),
        ("a flipped bit", flipped, Err(DeltaError::Checksum)),
        ("part 2 of 1", sealed(other_part), Err(DeltaError::Part { part: 2, parts: 1 })),
        ("part 0 of 1", sealed(part_zero), Err(DeltaError::Part { part: 0, parts: 1 })),
        ("no rows", part(0, b""), Ok(0)),
        ("a row", part(1, &[0, 1, 2, b'a', b'v']), Ok(1)),
        ("a deleted row", part(1, &[0, 1, 0, b'a']), Ok(1)),
        ("fewer rows than it says", part(2, &[0, 1, 0, b'a']), Err(DeltaError::TooShort)),
        ("more rows than it says", part(0, &[0, 1, 0, b'a']), Err(DeltaError::TooLong)),
        ("a long key", part(1, &[0, 9, 0, b'a']), Err(DeltaError::TooShort)),
        ("a long value", part(1, &[0, 1, 9, b'a', b'v']), Err(DeltaError::TooShort)),
        ("a number of 65 bits", part(1, &long_varint), Err(DeltaError::Length)),
        ("a number without end", part(1, &[0x80; 30]), Err(DeltaError::Length)),
        ("leaning on no key", part(1, &[1, 1, 0, b'a']), Err(DeltaError::Shared)),
        ("an empty key", part(1, &[0, 0, 0]), Err(DeltaError::Order)),
        ("a key twice", part(2, &[0, 1, 0, b'a', 1, 0, 0]), Err(DeltaError::Order)),
        ("a lesser key", part(2, &[0, 1, 0, b'b', 0, 1, 0, b'a']), Err(DeltaError::Order)),
        ("a reserved key", part(1, &[0, 2, 0, 0, b'P']), Err(DeltaError::Reserved)),
    ];
    for (what, record, expected) in cases {
        assert_eq!(read(&record), expected, "{what}");
    }
}

fn real_delta() -> Vec<u8> {
    let (_home, dir) = home();
    let mut store = open(&dir);
    for n in 0..20_u8 {
        store.put(&[b'E', n / 5, n], &vec![n; usize::from(n) * 10]);
        store.delete(&[b'K', n]);
    }
    store.delta(1, 2, 3, PART_BYTES).swap_remove(0)
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
        let _ = read(&sealed([vec![1], bytes.clone()].concat()));
        // Rows of any bytes: small numbers, so that some get far.
        let _ = read(&part(1000, &bytes));
        let small: Vec<_> = bytes.iter().map(|byte| byte % 5).collect();
        let _ = read(&part(u32::MAX, &small));
    }
}

#[test]
fn every_bit_that_flips_is_noticed_and_none_panics_behind_the_checksum() {
    let delta = real_delta();
    assert_eq!(read(&delta), Ok(40));
    for at in 0..delta.len() * 8 {
        let mut flipped = delta.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        assert!(read(&flipped).is_err(), "bit {at}");
        let body = flipped[..delta.len() - 4].to_vec();
        let _ = read(&sealed(body));
    }
    for length in 0..delta.len() {
        assert!(read(&delta[..length]).is_err(), "{length} bytes");
    }
}
