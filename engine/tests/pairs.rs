//! Every pair of rules that can meet in a verdict, generated: which of two ends counts, and what keeps from it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "shared by the test binaries")]
mod support;

use lethe_engine::lifecycle::Explanation;
use lethe_engine::policy::Keep;
use lethe_engine::{Class, Storage};
use support::harness::Harness;
use support::history::START_MS;
use support::text;

/// A rule that ends the message `a/c/m`, sent at 1 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Expired,
    Shortened,
    Conversation,
    Maximum,
    Burned,
    Recalled,
    OptedOut,
    TenantEnded,
    Erased,
    StandingErased,
    Delivered,
    Undelivered,
}

/// Those that can end what is stored, and what is in transit.
const STORED: [Ends; 10] = [
    Ends::Expired,
    Ends::Shortened,
    Ends::Conversation,
    Ends::Maximum,
    Ends::Burned,
    Ends::Recalled,
    Ends::OptedOut,
    Ends::TenantEnded,
    Ends::Erased,
    Ends::StandingErased,
];
const TRANSIT: [Ends; 7] = [
    Ends::Delivered,
    Ends::Undelivered,
    Ends::Burned,
    Ends::Recalled,
    Ends::TenantEnded,
    Ends::Erased,
    Ends::StandingErased,
];

/// Which of two ends counts, the one at 3 s or the one at 5 s: the earlier. A retention counts from the sent time
/// whenever it was chosen: one that is shortened beneath what a ttl, a maximum or an erasure had left is earlier than they are.
fn counts(first: Ends, second: Ends) -> Ends {
    match (first, second) {
        (Ends::Burned | Ends::Maximum | Ends::Erased | Ends::StandingErased, Ends::Shortened) => {
            second
        }
        _ => first,
    }
}

/// A rule that keeps it, whatever ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    Hold,
    Minimum,
    Stop,
}

const KEEPS: [Keeps; 3] = [Keeps::Hold, Keeps::Minimum, Keeps::Stop];

/// When something keeps until, in seconds: the minimum passes, holds are released.
const KEPT_UNTIL: i64 = 20;

impl Ends {
    const fn reason(self) -> &'static str {
        match self {
            Self::Expired | Self::Shortened | Self::Conversation | Self::Maximum => "expired",
            Self::Burned => "burned",
            Self::Recalled => "recalled",
            Self::OptedOut => "opted-out",
            Self::TenantEnded => "ended",
            Self::Erased | Self::StandingErased => "erased",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
        }
    }

    /// The key of the control record behind it, where the content is stored.
    const fn decider(self) -> &'static str {
        match self {
            Self::Conversation => "conversation/a/c",
            Self::Maximum | Self::TenantEnded => "terms/a",
            Self::Erased => "erasure/1",
            Self::StandingErased => "erasure/2",
            Self::Expired
            | Self::Shortened
            | Self::Burned
            | Self::Recalled
            | Self::OptedOut
            | Self::Delivered
            | Self::Undelivered => "tenant/a",
        }
    }

    /// What they say is one and the same: of two retentions one counts, whatever the other says.
    const fn subject(self) -> &'static str {
        match self {
            Self::Expired | Self::Shortened | Self::Conversation => "the retention",
            Self::Maximum
            | Self::Burned
            | Self::Recalled
            | Self::OptedOut
            | Self::TenantEnded
            | Self::Erased
            | Self::StandingErased
            | Self::Delivered
            | Self::Undelivered => self.name(),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Shortened => "shortened",
            Self::Conversation => "conversation",
            Self::Maximum => "maximum",
            Self::Burned => "burned",
            Self::Recalled => "recalled",
            Self::OptedOut => "opted-out",
            Self::TenantEnded => "tenant ended",
            Self::Erased => "erased",
            Self::StandingErased => "erased, standing",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
        }
    }
}

/// The history of the message under these rules: each end at its time (s), each keep from the beginning.
fn history(storage: Storage, ends: &[(Ends, i64)], keeps: &[Keeps]) -> Vec<String> {
    let at = |which: Ends| ends.iter().find(|(end, _)| *end == which).map(|(_, at)| *at);
    let lasts = |which: Ends| at(which).map(|at| at - 1);
    let mut terms = Vec::new();
    if let Some(limit) = lasts(Ends::Undelivered) {
        terms.push(format!(r#""transit_limit": "{limit}s""#));
    }
    if let Some(maximum) = lasts(Ends::Maximum) {
        terms.push(format!(r#""maximum": "{maximum}s""#));
    }
    if let Some(at) = at(Ends::TenantEnded) {
        // Two calendar months before: November and December have 61 days.
        terms.push(format!(r#""ended_at": "@{}""#, at - 61 * 86_400));
    }
    if keeps.contains(&Keeps::Minimum) {
        terms.push(format!(r#""minimum": "{}s""#, KEPT_UNTIL - 1));
    }
    let mut lines: Vec<(i64, String)> = Vec::new();
    let mut say = |at: i64, text: String| lines.push((at, text));
    say(0, format!("control terms/a {{{}}}", terms.join(", ")));
    if storage == Storage::Stored {
        let retention = lasts(Ends::Expired).unwrap_or(3_600);
        say(
            0,
            format!(
                r#"control tenant/a {{"message": {{"storage": "in", "retention": "{retention}s"}}}}"#
            ),
        );
    }
    if let Some(own) = lasts(Ends::Conversation) {
        say(0, format!(r#"control conversation/a/c {{"retention": "{own}s"}}"#));
    }
    for keep in keeps {
        match keep {
            Keeps::Hold => say(0, r#"control hold/1 {"tenant": "a", "user": "alice"}"#.to_owned()),
            Keeps::Stop => say(0, r#"control hold/2 {"tenant": "*"}"#.to_owned()),
            Keeps::Minimum => {}
        }
    }
    let ttl = lasts(Ends::Burned).map_or(String::new(), |ttl| format!(" ttl={ttl}"));
    say(1, format!("send a/c/m @1{ttl}"));
    for (end, at) in ends {
        match end {
            Ends::Shortened => {
                say(
                    *at,
                    r#"control tenant/a {"message": {"storage": "in", "retention": "1s"}}"#
                        .to_owned(),
                );
            }
            Ends::Recalled => say(*at, "recall a/c/m @1".to_owned()),
            Ends::Delivered => say(*at, "deliver a/c/m @1 all".to_owned()),
            Ends::OptedOut => say(*at, "control tenant/a null".to_owned()),
            Ends::Erased => say(*at, r#"control erasure/1 {"tenant": "a"}"#.to_owned()),
            Ends::StandingErased => {
                say(*at, r#"control erasure/2 {"tenant": "a", "standing": true}"#.to_owned());
            }
            Ends::Expired
            | Ends::Conversation
            | Ends::Maximum
            | Ends::Burned
            | Ends::TenantEnded
            | Ends::Undelivered => {}
        }
    }
    lines.sort_by_key(|(at, _)| *at);
    lines.into_iter().map(|(at, text)| format!("{at} {text}")).collect()
}

/// Plays a history, and gives what has become of the message.
fn play(harness: &mut Harness, lines: &[String]) -> Vec<String> {
    let mut seen = Vec::new();
    for line in lines {
        let did = harness.step(&text::line(line).0);
        let did = did.unwrap_or_else(|wrong| panic!("{wrong}\n{}", lines.join("\n")));
        seen.extend(did.seen.iter().map(ToString::to_string));
    }
    seen
}

fn topic(storage: Storage) -> &'static str {
    match storage {
        Storage::Stored => "store",
        Storage::Transit => "transit",
    }
}

/// Each end against each other one, in both orders, nothing looked at in between: the earlier one counts.
#[test]
fn of_two_ends_the_earlier_counts() {
    let (mut met, mut wrong) = (0, Vec::new());
    for (storage, rules) in [(Storage::Stored, &STORED[..]), (Storage::Transit, &TRANSIT[..])] {
        for &first in rules {
            for &second in rules {
                if first.subject() == second.subject() {
                    continue;
                }
                let mut lines = history(storage, &[(first, 3), (second, 5)], &[]);
                lines.push("9 look".to_owned());
                lines.push("9 commit".to_owned());
                lines.push("10 send a/c/m @1".to_owned());
                lines.push("10 look".to_owned());
                let seen = play(&mut Harness::new(Class::Message), &lines);
                let topic = topic(storage);
                let expected = [
                    format!("+{topic} a/c/m"),
                    format!("-{topic} a/c/m {}", counts(first, second).reason()),
                ];
                if seen != expected {
                    wrong.push(format!(
                        "{first:?}, then {second:?}: {seen:?}\n{}",
                        lines.join("\n")
                    ));
                }
                met += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(met, 10 * 9 - 6 + 7 * 6);
}

/// Each end against each keep: it waits, for the reason and by the record of its end, and goes so afterwards.
#[test]
fn whatever_ended_it_whatever_keeps_it() {
    for end in STORED {
        for keep in KEEPS {
            if (end, keep) == (Ends::Maximum, Keeps::Minimum) {
                continue; // A minimum beyond the maximum is refused.
            }
            waits_and_goes(&[(end, 3)], &[keep]);
        }
    }
}

/// Each pair of ends against each pair of keeps: they are computed apart.
#[test]
fn two_ends_and_two_keeps() {
    for first in STORED {
        for second in STORED {
            for (number, &keep) in KEEPS.iter().enumerate() {
                for &other in KEEPS.iter().skip(number + 1) {
                    let ends = [(first, 3), (second, 5)];
                    let keeps = [keep, other];
                    let refused = ends.iter().any(|(end, _)| *end == Ends::Maximum)
                        && keeps.contains(&Keeps::Minimum);
                    if first.subject() != second.subject() && !refused {
                        waits_and_goes(&ends, &keeps);
                    }
                }
            }
        }
    }
}

#[track_caller]
fn waits_and_goes(ends: &[(Ends, i64)], keeps: &[Keeps]) {
    let first = ends.iter().map(|(end, _)| *end).reduce(counts).unwrap();
    let lines = history(Storage::Stored, ends, keeps);
    let story = format!("{ends:?} under {keeps:?}\n{}", lines.join("\n"));
    let mut harness = Harness::new(Class::Message);
    let mut seen = play(&mut harness, &lines);
    seen.extend(play(
        &mut harness,
        &["9 look".to_owned(), "9 reopen".to_owned(), "10 look".to_owned()],
    ));
    assert_eq!(seen, ["+store a/c/m"], "{story}");
    let (engine, ledger, _) = harness.engine();
    let explained =
        engine.explain(ledger, "a", START_MS + 1_000, "c/m", START_MS + 10_000).unwrap();
    let Explanation::Waits { reason, by, keep, .. } = explained else {
        panic!("{explained:?}: {story}");
    };
    // While every tombstone is stopped nobody carries out the end of a tenant's use, which would say what came first.
    let carried_out =
        !keeps.contains(&Keeps::Stop) || first != Ends::TenantEnded || ends.len() == 1;
    if carried_out {
        assert_eq!(reason.name(), first.reason(), "{story}");
    }
    // Who decided a retention is asked of the rules in force, which a later change may have replaced.
    if ends.len() == 1 {
        assert_eq!(by.key.as_deref(), Some(first.decider()), "{story}");
    }
    let strongest = match keep {
        Keep::Stop { .. } => Keeps::Stop,
        Keep::Hold { .. } => Keeps::Hold,
        Keep::Minimum { .. } => Keeps::Minimum,
    };
    let by_strength = [Keeps::Stop, Keeps::Hold, Keeps::Minimum];
    assert_eq!(
        by_strength.into_iter().find(|keep| keeps.contains(keep)),
        Some(strongest),
        "{story}"
    );
    // One keep goes after the other, the minimum by itself: it stays until the last has gone.
    let mut left: Vec<Keeps> = keeps.to_vec();
    let mut at = 11;
    let mut seen = Vec::new();
    while let Some(keep) = left.pop() {
        let release = match keep {
            Keeps::Hold => format!("{at} control hold/1 null"),
            Keeps::Stop => format!("{at} control hold/2 null"),
            Keeps::Minimum => format!("{KEPT_UNTIL} look"),
        };
        at = if keep == Keeps::Minimum { KEPT_UNTIL } else { at } + 1;
        seen = play(&mut harness, &[release, format!("{at} look")]);
        if !left.is_empty() {
            assert!(seen.is_empty(), "{left:?} keeps it still: {story}");
        }
    }
    assert_eq!(seen, [format!("-store a/c/m {}", first.reason())], "{story}");
}

/// Nothing but the emergency stop keeps what passes through.
#[test]
fn transit_is_kept_by_the_stop_alone() {
    for end in TRANSIT {
        for keep in KEEPS {
            let lines = history(Storage::Transit, &[(end, 3)], &[keep]);
            let mut harness = Harness::new(Class::Message);
            let mut seen = play(&mut harness, &lines);
            seen.extend(play(&mut harness, &["9 look".to_owned()]));
            let gone = ["+transit a/c/m".to_owned(), format!("-transit a/c/m {}", end.reason())];
            if keep == Keeps::Stop {
                assert_eq!(seen, ["+transit a/c/m"], "{end:?} under {keep:?}");
                let release = ["11 control hold/2 null".to_owned(), "12 look".to_owned()];
                seen.extend(play(&mut harness, &release));
            }
            assert_eq!(seen, gone, "{end:?} under {keep:?}");
        }
    }
}
