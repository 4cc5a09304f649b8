//! Every key of the configuration, in one table: the program and docs/configuration.md follow it.
//!
//! Invariant: a key that is not in the table is an error, and a key in it has one spelling in the
//! file, one in the environment and at most one flag.

/// A key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its place in the file: `section.name`.
    pub name: &'static str,
    /// What holds when nobody says otherwise; none: the meaning tells.
    pub default: Option<&'static str>,
    /// The flag of `lethe run` that sets it.
    pub flag: Option<&'static str>,
    /// What it means.
    pub meaning: &'static str,
}

impl Key {
    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.name.replace('.', "_").to_uppercase())
    }
}

/// How lethe's environment variables begin.
pub const ENVIRONMENT_PREFIX: &str = "LETHE_";

/// The section whose keys are librdkafka's properties rather than lethe's.
pub const KAFKA_SECTION: &str = "kafka";

/// Variables that begin like keys but are read elsewhere: who makes a change, the file's path, the log filter, and
/// the token and the authorities with which the verbs ask the processes.
const OTHER_VARIABLES: [&str; 5] =
    ["LETHE_BY", "LETHE_CA", "LETHE_CONFIG", "LETHE_LOG", "LETHE_TOKEN"];

/// How variables begin that Kubernetes sets in a pod beside a service named `lethe`.
const SERVICE_PREFIXES: [&str; 2] = ["LETHE_SERVICE_", "LETHE_PORT"];

/// Whether a variable begins like a key, but is none of the configuration's.
pub(super) fn is_elsewhere(variable: &str) -> bool {
    OTHER_VARIABLES.contains(&variable)
        || SERVICE_PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
}

const fn key(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { name, default: Some(default), flag: None, meaning }
}

const fn flag(key: Key, flag: &'static str) -> Key {
    Key { flag: Some(flag), ..key }
}

const fn without_default(name: &'static str, meaning: &'static str) -> Key {
    Key { name, default: None, flag: None, meaning }
}

/// All of them, in the order in which they are documented.
pub const KEYS: &[Key] = &[
    flag(
        key("brokers", "127.0.0.1:9092", "`HOST:PORT` of some brokers, separated by commas"),
        "--brokers",
    ),
    flag(
        key(
            "group",
            "lethe",
            "the consumer group; every process of one group shares the partitions",
        ),
        "--group",
    ),
    flag(
        key("data_dir", "./data", "where local state is kept; one process holds it at a time"),
        "--data-dir",
    ),
    flag(
        key("http", "127.0.0.1:9644", "`ADDRESS:PORT` of the HTTP server; port 0 takes a free one"),
        "--http",
    ),
    without_default(
        "http_tokens",
        "TOML file of the tokens that the admin API knows (docs/api.md); needed where `http` is not a loopback address",
    ),
    without_default(
        "http_certificate",
        "PEM file of the HTTP server's certificate, and those between it and an authority: it then speaks TLS alone; a changed file counts at the next connection",
    ),
    without_default("http_key", "PEM file of its key"),
    without_default(
        "audit_key",
        "file with the key, 16 bytes or more, under which `lethe.audit` names users by hashes (docs/audit.md); the same for all processes and the command line; default: users are not named at all",
    ),
    without_default(
        "peers",
        "`HOST:PORT` of the HTTP servers of all of the group's processes, separated by commas, with `https://` before it where they speak TLS; a name stands for all of its addresses: whom the safety catch of the admin API asks; default: this process alone",
    ),
    without_default(
        "peers_ca",
        "PEM file of the authorities that are trusted for `peers` with `https://`",
    ),
    flag(
        without_default(
            "workers",
            "threads that process partitions, 1 to 256; default: one a core",
        ),
        "--workers",
    ),
    flag(
        without_default(
            "instance",
            "this process's name in the group, unique and stable; default: the host's name, remembered in `data_dir`",
        ),
        "--instance",
    ),
    flag(
        key(
            "memory",
            "64MiB",
            "memory for the caches and write buffers of local state, at least 16MiB",
        ),
        "--memory",
    ),
    flag(
        key(
            "commit_interval",
            "100ms",
            "how long a transaction collects before it commits, 10ms to 5s",
        ),
        "--commit-interval",
    ),
    key(
        "changelog_slack",
        "24MiB",
        "bytes of changes to a partition's ledger, beyond half of its size, that bring a new snapshot; the default keeps a changelog within 3 times its ledger and 64 MiB",
    ),
    key(
        "standbys",
        "0",
        "how many instances follow each partition beside its owner, ready to take it over, 0 to 8; the same on all of the group's instances",
    ),
    key(
        "state_kept",
        "24h",
        "how long local state is kept of a partition that has moved to another instance and is not followed, 1s to 365d",
    ),
    flag(
        key("start", "earliest", "where a group without a position begins: `earliest` or `latest`"),
        "--start",
    ),
    flag(
        key(
            "single_process",
            "false",
            "states that this is the group's only process: brokers before 2.5, which cannot fence by group, need it",
        ),
        "--single-process",
    ),
    flag(
        key("create_topics", "true", "`run` creates topics that are missing"),
        "--no-create-topics",
    ),
    key("dead_letters.values", "false", "dead letters carry the input's value: content, for 24 h"),
    key(
        "metrics.tenants",
        "20",
        "how many of the busiest tenants have series of their own in `/metrics`, 0 to 500; the others are counted together",
    ),
    key(
        "safety.records",
        "100000",
        "a change that would end more records at once than this is refused until it is confirmed (docs/api.md)",
    ),
    key(
        "safety.share",
        "10",
        "the same for more than so many percent of a tenant's records of a class, 0 to 100",
    ),
    key("safety.few", "100", "the share does not count where a change would end no more than this"),
    key(
        "safety.grace",
        "24h",
        "how long a change waits that had to be confirmed, 0s to 365d; while it waits, a newer record takes it back",
    ),
    key("topics.messages", "im.messages", "input: messages"),
    key("topics.profiles", "im.profiles", "input: profiles"),
    key("topics.configs", "im.configs", "input: config items"),
    key("topics.store_messages", "store.messages", "output: stored messages"),
    key("topics.store_profiles", "store.profiles", "output: stored profiles"),
    key("topics.store_configs", "store.configs", "output: config items"),
    key("topics.transit_messages", "transit.messages", "output: messages in transit"),
    key("topics.transit_profiles", "transit.profiles", "output: profiles in transit"),
    key("topics.control", "lethe.control", "what tenants and operators say"),
    without_default(
        "topics.control_id",
        "states that the control topic with this id, though made anew, holds the same records at the same offsets as the one before it; default: one with another id stops every tombstone",
    ),
    key("topics.audit", "lethe.audit", "what lethe reports of it"),
    key("topics.dead_letters", "lethe.dlq", "input that cannot be processed"),
    key(
        "topics.changelog_prefix",
        "lethe.changelog.",
        "the beginning of each changelog's name; the input topic's name follows",
    ),
    key(
        "topics.partitions",
        "4",
        "partitions of an input topic that `topics apply --with-inputs` creates",
    ),
    key(
        "topics.replication",
        "0",
        "replicas of each topic that lethe creates; 0: the broker's default",
    ),
    key(
        "topics.transit_limit",
        "24h",
        "the longest transit limit of all your terms: transit topics keep content a day longer, and an input that keeps it longer is warned of",
    ),
];

/// The key with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}
