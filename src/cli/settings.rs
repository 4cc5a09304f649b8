//! From flags to settings: which flag sets which key.

use std::path::PathBuf;

use clap::Args;

use crate::config::{ConfigError, Settings};

/// Where the configuration is: of every verb.
#[derive(Args, Debug, Default)]
pub(super) struct Place {
    /// The configuration file (TOML); docs/configuration.md lists its keys
    #[arg(long, value_name = "FILE", env = "LETHE_CONFIG")]
    pub(super) config: Option<PathBuf>,

    /// Kafka brokers, separated by commas [env: LETHE_BROKERS] [default: 127.0.0.1:9092]
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) brokers: Option<String>,
}

impl Place {
    /// Reads the settings: these flags over the environment over the file over the defaults.
    pub(super) fn load(
        &self,
        flags: impl IntoIterator<Item = (&'static str, Option<String>)>,
    ) -> Result<Settings, ConfigError> {
        let brokers = [("brokers", self.brokers.clone())];
        let given = brokers.into_iter().chain(flags);
        let given = given.filter_map(|(key, value)| Some((key, value?)));
        // A variable that is not UTF-8 is none of lethe's.
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Settings::load(self.config.as_deref(), variables, given)
    }
}
