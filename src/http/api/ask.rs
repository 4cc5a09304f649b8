//! `/v1/explain`, `/v1/forecast`, `/v1/erasures/{id}/progress`, `/v1/replays/{id}/progress`: what the partitions of this process know.
//! Other processes have the other partitions: an answer names those that it covers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{MethodRouter, get, post};
use lethe_engine::ledger::key::{push_part, read_part};
use lethe_engine::lifecycle::FORECAST_DAYS_MAX;
use lethe_engine::{Class, ControlRecord};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use super::Api;
use super::auth::Wish;
use super::problem::Problem;
use crate::control::key::Kind;
use crate::control::{self, Book, Change, Expected};
use crate::demo::now_ms;
use crate::http::answer::{
    Erased, Explained, Forecasts, Found, InPartition, Partition, Progress, ReplayIn,
    ReplayProgress, Replayed, Standing,
};
use crate::pipeline::questions::{Answer, Answers, Question};
use crate::pipeline::seam::PartitionId;

/// Where changes are counted.
pub(super) const FORECAST: &str = "/v1/forecast";
/// The largest body of a question about changes: most are short, a few may be as long as a record.
const FORECAST_BYTES_MAX: usize = 1 << 20;
/// So many changes are forecast at once.
const CHANGES_MAX: usize = 1_000;
/// So many days ahead are told apart where nobody says how many.
const DAYS: usize = 30;
/// A control offset that the topic does not reach: of what is not written yet.
const PROPOSED: i64 = i64::MAX / 2;

type Asked = State<Arc<Api>>;

/// The pages of the questions.
pub(super) fn routes() -> [(&'static str, MethodRouter<Arc<Api>>); 4] {
    [
        ("/v1/explain", get(explain)),
        (FORECAST, post(forecast).layer(DefaultBodyLimit::max(FORECAST_BYTES_MAX))),
        ("/v1/erasures/{id}/progress", get(progress)),
        ("/v1/replays/{id}/progress", get(replay_progress)),
    ]
}

/// Which record is asked about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    tenant: String,
    conversation: Option<String>,
    message: Option<String>,
    user: Option<String>,
    item: Option<String>,
    /// Its sent or update time: RFC 3339, or Unix ms.
    at: Option<String>,
}

/// What is proposed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proposal {
    /// By control key; null withdraws.
    changes: BTreeMap<String, Option<Value>>,
    days: Option<usize>,
}

impl Record {
    /// Its class, and what follows the tenant in its record key.
    fn place(&self) -> Result<(Class, String), Problem> {
        let mut id = String::new();
        let class = match (&self.conversation, &self.message, &self.user, &self.item) {
            (Some(conversation), Some(message), None, None) => {
                push_part(&mut id, conversation);
                id.push('/');
                push_part(&mut id, message);
                Class::Message
            }
            (None, None, Some(user), None) => {
                push_part(&mut id, user);
                Class::Profile
            }
            (None, None, None, Some(item)) => {
                push_part(&mut id, item);
                Class::Config
            }
            _ => return Err(wrong("a conversation and its message, or a user, or an item")),
        };
        Ok((class, id))
    }

    fn at_ms(&self) -> Result<Option<i64>, Problem> {
        let read = |text: &String| {
            let ms = text.parse().ok();
            ms.or_else(|| Some(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()))
        };
        let at_ms = self.at.as_ref().map(read);
        let valid = at_ms.flatten().filter(|&at_ms| at_ms >= 0);
        if at_ms.is_some() && valid.is_none() {
            return Err(wrong("the time is neither RFC 3339 nor Unix ms"));
        }
        Ok(valid)
    }
}

async fn explain(
    State(api): Asked,
    headers: HeaderMap,
    record: Result<Query<Record>, QueryRejection>,
) -> Result<Json<Explained>, Problem> {
    let Query(record) = record.map_err(|_| wrong("tenant, and which of its records"))?;
    api.doors.admit(&headers, Wish::Read(Kind::Tenant), Some(&record.tenant))?;
    let (class, id) = record.place()?;
    let time_ms = record.at_ms()?;
    let question = Question::Explain { class, tenant: record.tenant, id, time_ms };
    let mut explained = Explained::default();
    for (id, answer) in api.ask(question).await? {
        let Answer::Explained(found) = answer else { continue };
        let partition = api.partition(id);
        let found = found.into_iter().map(|(at_ms, explanation)| Found {
            partition: partition.clone(),
            at_ms,
            standing: Standing::from(explanation),
        });
        let found = found.collect();
        explained.add(Explained { partitions: vec![partition.clone()], found });
    }
    Ok(Json(explained))
}

async fn forecast(
    State(api): Asked,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Forecasts>, Problem> {
    let proposal: Proposal = serde_json::from_slice(&body).map_err(|_| {
        wrong("the body is {\"changes\": {control key: value or null}, \"days\": …}")
    })?;
    if proposal.changes.len() > CHANGES_MAX {
        return Err(wrong("too many changes at once: at most 1000"));
    }
    let now = now_ms();
    for (key, value) in &proposal.changes {
        let kind = Kind::of(key).ok_or_else(|| wrong("a key is of no known kind"))?;
        let tenant = tenant_of(kind, key, value.as_ref());
        api.doors.admit(&headers, Wish::Read(kind), tenant.as_deref())?;
        let (key, value) = (key.clone(), value.as_ref().map(Value::to_string));
        control::check(&Change { key, value, expected: Expected::Anything }, now)?;
    }
    let book = api.with_topic(move |topic| topic.read(now)).await?;
    let days = proposal.days.unwrap_or(DAYS).min(FORECAST_DAYS_MAX);
    Ok(Json(api.forecast(&proposal.changes, days, &book, now).await?))
}

async fn progress(
    State(api): Asked,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Progress>, Problem> {
    api.doors.admit(&headers, Wish::Read(Kind::Erasure), None)?;
    let question = Question::Erasure { control_key: Kind::Erasure.key(&[&id]) };
    let mut partitions = Vec::new();
    for (id, answer) in api.ask(question).await? {
        let Answer::Erasure(found) = answer else { continue };
        let (offset, row) = found.unzip();
        partitions.push(InPartition {
            partition: api.partition(id),
            class: id.class.name().to_owned(),
            offset,
            done_at_ms: row.as_ref().and_then(|row| row.done_at_ms),
            found: row.as_ref().map(Erased::of).unwrap_or_default(),
        });
    }
    Ok(Json(Progress { partitions }))
}

async fn replay_progress(
    State(api): Asked,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<ReplayProgress>, Problem> {
    api.doors.admit(&headers, Wish::Read(Kind::Replay), None)?;
    Ok(Json(api.replay(Kind::Replay.key(&[&id])).await?))
}

impl Api {
    /// How far a replay is in this process.
    async fn replay(&self, control_key: String) -> Result<ReplayProgress, Problem> {
        let question = Question::Replays { control_key: Some(control_key) };
        let mut partitions = Vec::new();
        for (id, answer) in self.ask(question).await? {
            let Answer::Replays(found) = answer else { continue };
            partitions.push(ReplayIn {
                partition: self.partition(id),
                class: id.class.name().to_owned(),
                replay: found.last().map(|(offset, row)| Replayed::of(*offset, row)),
            });
        }
        Ok(ReplayProgress { partitions })
    }

    /// Whether a replay is known to have come to its end everywhere: this process has all of the partitions.
    pub(super) async fn has_ended(self: &Arc<Self>, control_key: &str) -> Result<bool, Problem> {
        let progress = self.replay(control_key.to_owned()).await?;
        if !progress.is_ended() {
            return Ok(false);
        }
        let inputs = self.with_topic(|topic| topic.inputs()).await?;
        let all: usize = inputs.values().filter_map(|&count| usize::try_from(count).ok()).sum();
        Ok(progress.partitions.len() >= all)
    }

    /// Counts what changes would end, in the partitions of this process.
    pub(super) async fn forecast(
        &self,
        changes: &BTreeMap<String, Option<Value>>,
        days: usize,
        book: &Book,
        now_ms: i64,
    ) -> Result<Forecasts, Problem> {
        let proposal = |(number, (key, value)): (i64, (&String, &Option<Value>))| {
            let body = value.as_ref().map(Value::to_string);
            let body = body.as_deref().map(str::as_bytes);
            ControlRecord::parse(PROPOSED + number, now_ms, key.as_bytes(), body)
        };
        let proposals = (0..).zip(changes).map(proposal).collect();
        let tenants = tenants(changes, book);
        let all = tenants.is_none();
        let mut forecasts = Forecasts::default();
        for (id, answer) in self.ask(Question::Forecast { tenants, proposals, days }).await? {
            let Answer::Forecast(found) = answer else { continue };
            forecasts.partitions.push(self.partition(id));
            for (tenant, forecast) in found {
                let tenant = if all { "*" } else { &tenant };
                forecasts.take(tenant, id.class.name(), &forecast);
            }
        }
        Ok(forecasts)
    }

    /// Asks the workers, each of which has some of the partitions.
    async fn ask(&self, question: Question) -> Result<Answers, Problem> {
        let unavailable = |why: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, why);
        let asked = self.questions.ask(question);
        let mut replies = asked.map_err(|_| unavailable("too much is asked at a time"))?;
        let mut answers = Answers::new();
        let all = timeout(self.answer_within, async {
            while let Some(mut of_worker) = replies.recv().await {
                answers.append(&mut of_worker);
            }
        });
        all.await.map_err(|_| unavailable("the workers have not answered in time"))?;
        answers.sort_by_key(|(id, _)| *id);
        Ok(answers)
    }

    fn partition(&self, id: PartitionId) -> Partition {
        let topic = self.settings.topics.input(id.class).to_owned();
        Partition { topic, partition: id.partition }
    }
}

/// The tenants that changes concern; none: all of them.
fn tenants(changes: &BTreeMap<String, Option<Value>>, book: &Book) -> Option<Vec<String>> {
    let mut tenants = BTreeSet::new();
    for (key, value) in changes {
        let Some(kind) = Kind::of(key) else { continue };
        for value in [value.as_ref(), book.value(key)] {
            match tenant_of(kind, key, value) {
                Some(tenant) if tenant == "*" => return None,
                tenant => tenants.extend(tenant),
            }
        }
    }
    Some(tenants.into_iter().collect())
}

/// Whose records a change concerns.
fn tenant_of(kind: Kind, key: &str, value: Option<&Value>) -> Option<String> {
    match kind {
        Kind::Tenant | Kind::Conversation | Kind::Terms => {
            let part = key.split('/').nth(1)?;
            Some(read_part(part))
        }
        // A replay ends nothing that would not end without it.
        Kind::Replay => None,
        Kind::Hold | Kind::Erasure => Some(value?.get("tenant")?.as_str()?.to_owned()),
    }
}

fn wrong(detail: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}
