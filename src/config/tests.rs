//! Layers, errors in the operator's words, and docs/configuration.md in step with the table.
#![expect(clippy::unwrap_used, reason = "a failing test is the point")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use super::keys::KEYS;
use super::{Beginning, Settings};

const NO_VARIABLES: [(&str, &str); 0] = [];

fn load(
    file: &str,
    variables: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<Settings, String> {
    let mut toml = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    toml.write_all(file.as_bytes()).unwrap();
    let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    let flags = flags.iter().map(|&(key, value)| (key, value.to_owned()));
    let error = |error: super::ConfigError| {
        error.to_string().replace(&toml.path().display().to_string(), "lethe.toml")
    };
    Settings::load(Some(toml.path()), variables, flags).map_err(error)
}

fn wrong(file: &str, variables: &[(&str, &str)], flags: &[(&'static str, &str)]) -> String {
    load(file, variables, flags).err().unwrap_or_else(|| "accepted".to_owned())
}

#[test]
fn the_defaults_are_the_contracts() {
    let settings = Settings::load(None, [], []).unwrap();
    let pipeline = &settings.pipeline;
    assert_eq!((pipeline.brokers.as_str(), pipeline.group.as_str()), ("127.0.0.1:9092", "lethe"));
    assert_eq!(pipeline.data_dir.to_str(), Some("./data"));
    assert_eq!(settings.http, "127.0.0.1:9644");
    assert_eq!(pipeline.commit_interval, Duration::from_millis(100));
    assert_eq!(pipeline.topics, crate::pipeline::settings::Topics::default());
    assert_eq!((pipeline.beginning, pipeline.instance.clone()), (Beginning::Earliest, None));
    assert!(settings.create_topics && pipeline.workers >= 1 && !pipeline.dead_letter_values);
}

#[test]
fn a_flag_goes_before_a_variable_before_the_file_before_the_default() {
    let file = "group = 'file'\nbrokers = 'file:1'\nmemory = '32MiB'\nworkers = 3";
    let variables = [("LETHE_GROUP", "variable"), ("LETHE_BROKERS", "variable:1")];
    let pipeline = load(file, &variables, &[("group", "flag")]).unwrap().pipeline;
    assert_eq!((pipeline.group.as_str(), pipeline.brokers.as_str()), ("flag", "variable:1"));
    assert_eq!((pipeline.workers, pipeline.cache_bytes), (3, 16 << 20));
}

#[test]
fn values_of_sections_come_from_variables_too() {
    let variables = [
        ("LETHE_TOPICS_STORE_MESSAGES", "kept"),
        ("LETHE_DEAD_LETTERS_VALUES", "true"),
        ("LETHE_LOG", "debug"),
        ("LETHE_CONFIG", "elsewhere.toml"),
        ("LETHE_SERVICE_HOST", "10.0.0.1"),
        ("LETHE_PORT_9644_TCP", "tcp://10.0.0.1:9644"),
        ("PATH", "/bin"),
    ];
    let pipeline = load("[topics]\nmessages = 'in'", &variables, &[]).unwrap().pipeline;
    assert_eq!(pipeline.topics.store_messages, "kept");
    assert_eq!(pipeline.topics.messages, "in");
    assert!(pipeline.dead_letter_values);
}

#[test]
fn any_librdkafka_property_passes_however_it_is_written() {
    let file = "[kafka]\n'security.protocol' = 'SSL'\nssl.ca.location = '/ca'\nsocket.keepalive.enable = true\n'queued.min.messages' = 5";
    let variables = [("LETHE_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")];
    let kafka = load(file, &variables, &[]).unwrap().pipeline.kafka;
    let listed: Vec<_> = kafka.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        listed.join(" "),
        "queued.min.messages=5 security.protocol=SASL_SSL socket.keepalive.enable=true ssl.ca.location=/ca"
    );
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_what_may_have_been_meant() {
    assert_eq!(
        wrong("comit_interval = '1s'", &NO_VARIABLES, &[]),
        "unknown key `comit_interval` in lethe.toml: did you mean commit_interval?"
    );
    assert_eq!(
        wrong("[topics]\nmessage = 'x'", &NO_VARIABLES, &[]),
        "unknown key `topics.message` in lethe.toml: did you mean topics.messages?"
    );
    assert_eq!(
        wrong("", &[("LETHE_DATADIR", "x")], &[]),
        "unknown key `LETHE_DATADIR` in the environment: did you mean LETHE_DATA_DIR?"
    );
    assert_eq!(
        wrong("sasl = 1", &NO_VARIABLES, &[]),
        "unknown key `sasl` in lethe.toml: docs/configuration.md lists every key; librdkafka's belong to [kafka]"
    );
}

#[test]
fn a_wrong_value_is_named_with_its_place_and_what_would_be_right() {
    assert_eq!(
        wrong("workers = 0", &NO_VARIABLES, &[]),
        "`workers` in lethe.toml must be a whole number from 1 to 256"
    );
    assert_eq!(
        wrong("", &[("LETHE_MEMORY", "lots")], &[]),
        "`memory` in the environment (LETHE_MEMORY) must be a size such as 64MiB, 512MiB or 2GiB"
    );
    assert_eq!(
        wrong("", &NO_VARIABLES, &[("http", "9644")]),
        "`http` in flag --http must be ADDRESS:PORT, such as 127.0.0.1:9644 or [::]:9644"
    );
    assert_eq!(
        wrong("commit_interval = '1h'", &NO_VARIABLES, &[]),
        "`commit_interval` in lethe.toml must be a duration from 10ms to 5s"
    );
    assert_eq!(
        wrong("brokers = ['a:1', 'b:1']", &NO_VARIABLES, &[]),
        "`brokers` in lethe.toml must be one value, not a list or table"
    );
    assert_eq!(
        wrong("topics = 1", &NO_VARIABLES, &[]),
        "unknown key `topics` in lethe.toml: it is a section: write [topics] and its keys below"
    );
}

#[test]
fn properties_that_exactly_once_rests_on_are_refused_without_showing_values() {
    assert_eq!(
        wrong("[kafka]\nisolation.level = 'read_uncommitted'", &NO_VARIABLES, &[]),
        "`kafka.isolation.level` in lethe.toml cannot be set: aborted input would be processed; remove it"
    );
    let variables = [("LETHE_KAFKA_TRANSACTIONAL_ID", "secret")];
    let error = wrong("", &variables, &[]);
    assert!(error.starts_with("`kafka.transactional.id` in the environment"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn a_certificate_comes_with_its_key() {
    let both = load("http_certificate = 'c'\nhttp_key = 'k'", &NO_VARIABLES, &[]).unwrap();
    assert_eq!(both.http_tls.unwrap().key.to_str(), Some("k"));
    assert_eq!(
        wrong("http_certificate = 'c'", &NO_VARIABLES, &[]),
        "`http_key` in any layer must be set, as http_certificate is"
    );
}

#[test]
fn two_topics_with_one_name() {
    assert_eq!(
        wrong("[topics]\nstore_messages = 'im.messages'", &NO_VARIABLES, &[]),
        "the topic name `im.messages` is used twice in [topics]: give each topic a name of its own"
    );
    assert_eq!(
        wrong("[topics]\nmessages = 'in/out'", &NO_VARIABLES, &[]),
        "`topics.messages` in lethe.toml must be a topic's name: 1 to 249 letters, digits, '.', '_' or '-'"
    );
}

#[test]
fn a_file_that_is_missing_or_no_toml() {
    let missing = Settings::load(Some("/nowhere/lethe.toml".as_ref()), [], []).err().unwrap();
    assert!(missing.to_string().contains("/nowhere/lethe.toml"), "{missing}");
    assert!(wrong("workers = ", &NO_VARIABLES, &[]).starts_with("the configuration file"));
}

#[test]
fn the_documentation_lists_every_key() {
    let mut table =
        String::from("| key | environment | flag | default | meaning |\n|---|---|---|---|---|\n");
    for key in KEYS {
        let flag = key.flag.map_or(String::new(), |flag| format!("`{flag}`"));
        let default = key.default.map_or(String::new(), |default| format!("`{default}`"));
        let (name, variable, meaning) = (key.name, key.variable(), key.meaning);
        writeln!(table, "| `{name}` | `{variable}` | {flag} | {default} | {meaning} |").unwrap();
    }
    let page = include_str!("../../docs/configuration.md");
    assert!(page.contains(&table), "docs/configuration.md must contain:\n{table}");
}
