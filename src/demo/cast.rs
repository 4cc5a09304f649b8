//! Who plays: tenants with different policies, and what they do in the middle of the play.

use crate::traffic::{Choice, Tenant};

/// Nothing new is sent so long before a turn, so that each content is clearly of one side of it:
/// the latest original of a life comes 1.4 s after its birth.
pub(super) const SILENCE_BEFORE_MS: i64 = 2_000;
/// A change takes effect within 1 s; with this margin nothing new is sent after a turn.
pub(super) const SILENCE_AFTER_MS: i64 = 1_500;

/// A tenant and its part.
pub(super) struct Actor {
    pub(super) tenant: Tenant,
    /// What it chose, for the audience.
    pub(super) says: &'static str,
    /// It sends no profiles.
    pub(super) messages_only: bool,
    /// Its lives have one version and end by themselves: nothing of it waits for a limit.
    pub(super) calm: bool,
    pub(super) turns: Vec<Turn>,
}

/// A change in the middle.
pub(super) struct Turn {
    /// When, in percent of the play.
    pub(super) percent: u32,
    pub(super) change: Change,
    /// What happens, for the audience.
    pub(super) says: &'static str,
}

/// What a tenant can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Its messages are kept from now on, for so many seconds.
    OptIn { retention_s: u32 },
    /// Nothing is kept any more.
    OptOut,
    /// Its use ended three months ago.
    End,
}

impl Actor {
    fn new(tenant: Tenant, says: &'static str) -> Self {
        Self { tenant, says, messages_only: false, calm: false, turns: Vec::new() }
    }

    /// Whether it keeps silent at a time: around its turns, and for ever after its end.
    pub(super) fn is_silent(&self, start_ms: i64, length_ms: i64, now_ms: i64) -> bool {
        self.turns.iter().any(|turn| {
            let at_ms = turn.at_ms(start_ms, length_ms);
            let ends_ms = match turn.change {
                Change::OptIn { .. } | Change::OptOut => at_ms + SILENCE_AFTER_MS,
                Change::End => i64::MAX,
            };
            (at_ms - SILENCE_BEFORE_MS..=ends_ms).contains(&now_ms)
        })
    }

    /// Whether it ever chose to have anything stored.
    pub(super) fn never_in(&self) -> bool {
        let stays_out = !self.turns.iter().any(|turn| matches!(turn.change, Change::OptIn { .. }));
        stays_out && matches!(self.tenant.choice, None | Some((Choice::Out, Choice::Out)))
    }
}

impl Turn {
    /// When it happens (Unix ms).
    pub(super) fn at_ms(&self, start_ms: i64, length_ms: i64) -> i64 {
        start_ms + length_ms * i64::from(self.percent) / 100
    }
}

/// Everyone. Retentions and limits are longer than anything that happens to a living thing, so that
/// which end comes first is never a matter of luck.
pub(super) fn cast() -> Vec<Actor> {
    let keeps = |retention_s| Choice::In { retention_s };
    let with_limit = |mut tenant: Tenant| {
        tenant.transit_limit_s = Some(6);
        tenant
    };

    let mut atlas = Tenant::new("atlas", 30, keeps(8), keeps(6));
    atlas.conversation = Some(("c2c-flash".to_owned(), 4));
    let birch = with_limit(Tenant::new("birch", 20, keeps(12), Choice::Out));
    let cedar = with_limit(Tenant::new("cedar", 25, Choice::Out, Choice::Out));
    let dune = Tenant::unknown("dune", 8);
    let ember = with_limit(Tenant::new("ember", 12, Choice::Out, Choice::Out));
    let fjord = Tenant::new("fjord", 10, keeps(3_600), keeps(3_600));
    let mut grove = Tenant::new("grove", 10, keeps(5), Choice::Out);
    grove.minimum_s = 9;

    vec![
        Actor::new(atlas, "in: 8 s, profiles 6 s, a talk 4 s"),
        Actor::new(birch, "in: 12 s; profiles out"),
        Actor::new(cedar, "out: delivered, or 6 s"),
        Actor { calm: true, ..Actor::new(dune, "unknown, so out") },
        Actor {
            messages_only: true,
            calm: true,
            turns: vec![
                Turn {
                    percent: 30,
                    change: Change::OptIn { retention_s: 8 },
                    says: "ember opts in: what it sends from now on is kept for 8 s",
                },
                Turn {
                    percent: 70,
                    change: Change::OptOut,
                    says: "ember opts out: what was kept of it ends now",
                },
            ],
            ..Actor::new(ember, "out, then in, then out")
        },
        Actor {
            calm: true,
            turns: vec![Turn {
                percent: 50,
                change: Change::End,
                says: "fjord left three months ago, we are told: all of it ends now",
            }],
            ..Actor::new(fjord, "in: 1 h, until it leaves")
        },
        Actor { messages_only: true, ..Actor::new(grove, "in: 5 s, the law says 9 s") },
    ]
}
