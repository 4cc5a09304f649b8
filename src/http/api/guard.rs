//! The safety catch over HTTP: before a change is made, all processes count what it would end.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Api, ask};
use crate::control::safety::{Confirmed, Counted, Guarded, may_end};
use crate::control::{self, Book, Change, ControlError};
use crate::http::answer::{Forecasts, missing};
use crate::http::client::{self, Call};

/// How a change is confirmed.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmation {
    /// It may be made, whatever it ends.
    #[serde(default)]
    confirm: bool,
    /// And need not wait.
    #[serde(default)]
    at_once: bool,
}

impl From<Confirmation> for Confirmed {
    fn from(confirmation: Confirmation) -> Self {
        match confirmation {
            Confirmation { confirm: false, .. } => Self::No,
            Confirmation { confirm: true, at_once: false } => Self::AfterGrace,
            Confirmation { confirm: true, at_once: true } => Self::AtOnce,
        }
    }
}

impl Api {
    /// Lets a change through as it is to be written, or says why not; a problem: that could not be found out.
    pub(super) async fn guard(
        self: &Arc<Self>,
        headers: &HeaderMap,
        change: Change,
        confirmed: Confirmed,
        now_ms: i64,
    ) -> Result<Result<Guarded, ControlError>, Problem> {
        if let Err(refused) = control::check(&change, now_ms) {
            return Ok(Err(refused));
        }
        let there = self.with_topic(move |topic| Ok((topic.read(now_ms)?, topic.inputs()?)));
        let (book, inputs) = there.await?;
        if let Err(refused) = control::allowed(&change, &book, now_ms) {
            return Ok(Err(refused));
        }
        if !may_end(&change, &book, now_ms) {
            return Ok(Ok(Guarded::free(vec![change])));
        }
        let counted = match self.count(headers, &change, &book, &inputs, now_ms).await {
            Ok(forecasts) => Counted::Tolls(forecasts.tolls()),
            Err(why) => Counted::Unknown(why),
        };
        let limits = self.options.safety;
        let decided = limits.decide(vec![change], Some(counted), confirmed, &book, now_ms);
        Ok(decided.map_err(ControlError::from))
    }

    /// Counts what a change would end, here and in the other processes.
    async fn count(
        &self,
        headers: &HeaderMap,
        change: &Change,
        book: &Book,
        inputs: &BTreeMap<String, i32>,
        now_ms: i64,
    ) -> Result<Forecasts, String> {
        let value = change.value.as_deref().map(serde_json::from_str::<Value>).transpose();
        let value = value.map_err(|error| error.to_string())?;
        let changes = BTreeMap::from([(change.key.clone(), value)]);
        let own = self.forecast(&changes, 0, book, now_ms).await;
        let mut all = own.map_err(|problem| problem.detail().to_owned())?;
        let body = Some(json!({ "changes": changes, "days": 0 }).to_string());
        // Whoever asks may ask the others, too.
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
        let call = Call { token, body, trust: self.options.peers_trust.clone() };
        let mut failed = None;
        for answer in client::call_all(&self.options.peers, ask::FORECAST, &call).await {
            let read = |body: Bytes| {
                serde_json::from_slice(&body).map_err(|_| "a peer's answer is none".to_owned())
            };
            match answer.and_then(read) {
                Ok(answer) => all.add(answer),
                Err(why) => failed = Some(why),
            }
        }
        let missing = missing(inputs, &all.partitions);
        match (missing.first(), failed) {
            (None, _) => Ok(all),
            (Some(_), Some(why)) => Err(why),
            (Some(first), None) => Err(format!(
                "{} partitions have not answered, the first is {first}: the setting `peers` names \
                 every process",
                missing.len()
            )),
        }
    }
}
