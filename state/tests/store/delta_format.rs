//! The bytes of a delta, which are forever.

use lethe_engine::Ledger;
use lethe_state::{Delta, DeltaHeader};

use crate::support::{PART_BYTES, home, open};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_delta_has_these_bytes() {
    let (_home, dir) = home();
    let mut store = open(&dir);
    store.put(b"Etenant-2", b"x");
    store.put(b"Etenant-1", b"first");
    store.put(b"Etenant-1", b"last");
    store.put(b"Etenant-10", b"");
    store.delete(b"Kgone");
    let parts = store.delta(0x0102, -1, 1_700_000_000_000, PART_BYTES);
    let expected = [
        "01",               // format
        "0000000000000001", // sequence
        "00000001",         // part
        "00000001",         // parts
        "0000000000000102", // input offset
        "ffffffffffffffff", // control offset
        "0000018bcfe56800", // decided at
        "00000004",         // rows
        "000905",
        "4574656e616e742d31",
        "6c617374", // Etenant-1 = last
        "090101",
        "30",
        "", // Etenant-10 =
        "080102",
        "32",
        "78", // Etenant-2 = x
        "000500",
        "4b676f6e65",
        "",         // Kgone is deleted
        "77f90228", // CRC-32C
    ];
    assert_eq!(parts.iter().map(|part| hex(part)).collect::<Vec<_>>(), [expected.concat()]);
}

#[test]
fn every_part_decodes_alone() {
    let (_home, dir) = home();
    let mut store = open(&dir);
    for n in 0..100_u32 {
        store.put(format!("Ethe-same-tenant/{n:03}").as_bytes(), b"value");
    }
    let parts = store.delta(7, 8, 9, 200);
    assert!(parts.len() > 3, "{}", parts.len());
    let mut keys = Vec::new();
    for (n, part) in (1..).zip(&parts) {
        let mut delta = Delta::decode(part).unwrap();
        let expected = DeltaHeader {
            sequence: 1,
            part: n,
            parts: u32::try_from(parts.len()).unwrap(),
            input_offset: 7,
            control_offset: 8,
            decided_at_ms: 9,
        };
        assert_eq!(*delta.header(), expected);
        while let Some((key, value)) = delta.next_row().unwrap() {
            assert_eq!(value, Some(b"value".as_slice()));
            keys.push(String::from_utf8(key.to_vec()).unwrap());
        }
    }
    let expected: Vec<_> = (0..100).map(|n| format!("Ethe-same-tenant/{n:03}")).collect();
    assert_eq!(keys, expected);
}

#[test]
fn a_row_that_fits_into_no_part_gets_one_to_itself() {
    let (_home, dir) = home();
    let mut store = open(&dir);
    store.put(b"a", b"small");
    store.put(b"b", &[7; 1000]);
    store.put(b"c", b"small");
    let parts = store.delta(0, 0, 0, 100);
    let lengths: Vec<_> = parts.iter().map(|part| part.len() > 100).collect();
    assert_eq!(lengths, [false, true, false]);
}
