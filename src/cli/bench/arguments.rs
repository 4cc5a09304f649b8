//! What several benchmarks are told.

use std::path::PathBuf;

use clap::Args;

use crate::bench::messages::{Shape, Size};

/// What a load is like.
#[derive(Args, Debug)]
pub(super) struct LoadShape {
    /// Bytes of content, or `kind`: as much as a text, a picture, an audio … usually has
    #[arg(long, value_name = "N", default_value = "512", value_parser = size)]
    bytes: Size,

    /// Tenants
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    tenants: u32,

    /// How many of the tenants opted in
    #[arg(long, value_name = "N", default_value_t = 70)]
    opted_in: u32,

    /// How uneven the tenants are: the n-th sends 1 / n to this power; 0: all alike
    #[arg(long, value_name = "POWER", default_value_t = 1.0, value_parser = skew)]
    skew: f64,

    /// Conversations of each tenant
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    conversations: u32,

    /// How many of them have a retention of their own, where the tenant opted in
    #[arg(long, value_name = "N", default_value_t = 0)]
    overrides: u32,

    /// Legal holds, each on a conversation of an opted-in tenant
    #[arg(long, value_name = "N", default_value_t = 0)]
    holds: u32,

    /// Messages of groups are delivered to each of their members, not to one
    #[arg(long)]
    groups: bool,

    /// Nothing is delivered
    #[arg(long)]
    undelivered: bool,

    /// So many of a hundred messages are edited
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100))]
    edited: u32,

    /// So many of a hundred messages are recalled
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100))]
    recalled: u32,

    /// The seed: the same one gives the same messages
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

impl LoadShape {
    pub(super) fn shape(&self, messages: u64) -> Shape {
        Shape {
            messages,
            delivered: !self.undelivered,
            groups: self.groups,
            edited_percent: self.edited,
            recalled_percent: self.recalled,
            size: self.bytes,
            tenants: self.tenants,
            opted_in: self.opted_in.min(self.tenants),
            skew: self.skew,
            conversations: self.conversations,
            overrides: self.overrides,
            holds: self.holds,
            first: 0,
            seed: self.seed,
        }
    }
}

/// How many messages a load has.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Messages {
    /// Messages; each is one record sent, and what follows it
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub(super) messages: u64,
}

/// How something is measured, and where.
#[derive(Args, Debug)]
pub(super) struct Measuring {
    /// Workers of either program [default: one a core]
    #[arg(long, value_name = "N")]
    pub(super) workers: Option<String>,

    /// How often each is measured; the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) rounds: u32,

    /// Where data directories are made, for as long as a round lasts
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    pub(super) scratch: PathBuf,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

fn size(text: &str) -> Result<Size, String> {
    match text {
        "kind" => Ok(Size::OfKind),
        bytes => bytes.parse().map(Size::Bytes).map_err(|_| "a number, or `kind`".to_owned()),
    }
}

fn skew(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(skew) if (0.0..=4.0).contains(&skew) => Ok(skew),
        Ok(_) | Err(_) => Err("a number from 0 to 4".to_owned()),
    }
}
