//! Where the processes are, and what all of them answer together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use hyper::body::Bytes;
use serde::de::DeserializeOwned;

use crate::error::Failure;
use crate::http::answer::{Partition, missing};
use crate::http::client::{self, Call};
use crate::http::tls::Trust;

/// The processes of the group.
#[derive(Args, Clone, Debug)]
pub(super) struct Endpoints {
    /// The processes' HTTP addresses, separated by commas; a name stands for all of its addresses;
    /// https://HOST:PORT where they speak TLS
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9644", value_delimiter = ',')]
    endpoints: Vec<String>,

    /// The token for their admin API, where they ask for one
    #[arg(long, value_name = "TOKEN", env = "LETHE_TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// The authorities (PEM) that are trusted for https
    #[arg(long, value_name = "FILE", env = "LETHE_CA")]
    ca: Option<PathBuf>,
}

/// What the processes answered.
pub(super) struct Asked<T> {
    pub(super) answers: Vec<T>,
    /// Why the last of those that did not answer did not.
    pub(super) failed: Option<String>,
}

impl Endpoints {
    /// Asks every process; a body makes it a POST.
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Option<String>,
    ) -> Result<Asked<T>, Failure> {
        let trust = self.ca.clone().map(Trust::Authority);
        let call = Call { token: self.token.clone(), body, trust };
        let all = client::call_all(&self.endpoints, path, &call);
        let mut asked = Asked { answers: Vec::new(), failed: None };
        for answer in super::runtime()?.block_on(all) {
            let read = |body: Bytes| {
                serde_json::from_slice(&body).map_err(|error| format!("not an answer: {error}"))
            };
            match answer.and_then(read) {
                Ok(answer) => asked.answers.push(answer),
                Err(why) => asked.failed = Some(why),
            }
        }
        Ok(asked)
    }

    /// The same; nobody's answer is a failure.
    pub(super) fn answers<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Option<String>,
    ) -> Result<Vec<T>, Failure> {
        let asked = self.ask(path, body)?;
        match asked.failed {
            Some(why) if asked.answers.is_empty() => Err(Failure::Failed(why)),
            Some(_) | None => Ok(asked.answers),
        }
    }
}

/// Fails unless all of these partitions have answered: what is not whole is not to be believed.
pub(super) fn all_answered<'p>(
    partitions: &BTreeMap<String, i32>,
    answered: impl Iterator<Item = &'p Partition>,
) -> Result<(), Failure> {
    let missing = missing(partitions, answered);
    match missing.first() {
        None => Ok(()),
        Some(first) => Err(Failure::Failed(format!(
            "{} partitions have not answered, the first is {first}: --endpoints names every process",
            missing.len()
        ))),
    }
}
