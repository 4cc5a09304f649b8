//! Every type of report, byte for byte as docs/audit.md shows it.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use serde_json::json;

use super::*;

const PAGE: &str = include_str!("../../docs/audit.md");

fn id() -> PartitionId {
    PartitionId { class: Class::Profile, partition: 3 }
}

fn author() -> Author {
    Author { by: "ada@desk-7".to_owned(), via: Via::Cli }
}

fn toll() -> Vec<Toll> {
    let (tenant, class) = ("acme".to_owned(), "message".to_owned());
    vec![Toll { tenant, class, ends: 900, of: 1_000 }]
}

/// What the processor reports.
fn of_processor() -> Vec<What> {
    let mut counts = ErasureCounts { ended: 5, held: 1, ..ErasureCounts::default() };
    counts.saw(1_700_000_000_000);
    let whats = [
        Audit::ControlInForce { offset: 7 },
        Audit::ControlWaiting { offset: 7, effective_at_ms: 1_700_000_900_000 },
        Audit::ControlRefused { offset: 7, why: "a retention without storage \"in\"" },
        Audit::HoldInForce { offset: 7 },
        Audit::HoldReleased { offset: 8 },
        Audit::TenantEnded { offset: 7 },
        Audit::ErasureDone { offset: 7, at_ms: 1_700_000_000_500, counts },
    ];
    let mut whats: Vec<What> =
        whats.into_iter().map(|what| Report::of_partition(id(), what, 0).what).collect();
    whats.push(What::ErasureCompleted {
        control_offset: 7,
        partitions: 12,
        by_class: BTreeMap::from([("profile", counts.into())]),
    });
    let mut row = ReplayRow::new("replay/2026-11", b"{}", 1_700_000_000_000);
    let why = "the topic archive.messages is not there".to_owned();
    for status in [ReplayStatus::Done, ReplayStatus::Cancelled, ReplayStatus::Failed(why)] {
        row.status = status;
        whats.push(Report::of_replay(id(), 7, &row, 0).what);
    }
    whats
}

/// What the command line and the API report.
fn of_writers() -> Vec<What> {
    let value = json!({"tenant": "acme", "user": "3bac6bd0bd8a1e0b0a1ac4f1ab2c3d4e"});
    let mut outputs = rebuild::Found::default();
    (outputs.stored, outputs.transit, outputs.ended) = (40, 2, 9);
    let (class, partition) = ("profile", 3);
    vec![
        What::LedgerRebuilt(LedgerRebuilt {
            author: author(),
            class,
            partition,
            position: 51,
            outputs,
        }),
        What::ChangeMade(ChangeMade {
            author: author(),
            control_offset: 7,
            replaces: None,
            value: Some(value),
        }),
        What::ChangeConfirmed(ChangeConfirmed {
            author: author(),
            control_offset: 7,
            effective_at_ms: Some(1_700_000_900_000),
            forecast: Some(toll()),
        }),
        What::ChangeRefused(ChangeRefused {
            author: Author { by: "portal".to_owned(), via: Via::Http },
            why: Refusal::SafetyCatch,
            forecast: Some(toll()),
        }),
    ]
}

#[test]
fn the_schema_is_what_the_documentation_says() {
    let all: Vec<What> = of_processor().into_iter().chain(of_writers()).collect();
    let shown: Vec<&str> = PAGE.lines().filter(|line| line.starts_with("{\"type\":")).collect();
    let said: Vec<String> = all
        .into_iter()
        .map(|what| {
            String::from_utf8(Report::new(what, 1_700_000_001_000).json().unwrap()).unwrap()
        })
        .collect();
    assert_eq!(shown, said, "docs/audit.md has each type, in this order:\n{}", said.join("\n"));
}

#[test]
fn an_erasure_that_is_done_is_read_back_and_nothing_else_is() {
    for what in of_processor() {
        let is_done = matches!(what, What::ErasureDone(_));
        let read = ErasureDone::read(&Report::new(what, 1).json().unwrap());
        assert_eq!(read.is_some(), is_done);
        if let Some(done) = read {
            assert_eq!((done.partition(), done.found.ended), (Some(id()), 5));
        }
    }
    for other in ["", "{}", "[]", "null", "{\"type\":\"erasure-done\"}"] {
        assert!(ErasureDone::read(other.as_bytes()).is_none());
    }
}
