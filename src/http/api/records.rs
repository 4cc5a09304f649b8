//! The resources: each a record of the control topic.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use serde::Serialize;

use super::Api;
use super::auth::Wish;
use super::guard::Confirmation;
use super::problem::Problem;
use crate::control::key::Kind;
use crate::control::value::time;
use crate::control::{Change, Entry, Expected};
use crate::demo::now_ms;

type Asked = State<Arc<Api>>;
/// How a change is confirmed, if that was understood.
type Confirming = Result<Query<Confirmation>, QueryRejection>;
/// The variable parts of a path, in order, decoded.
type Parts = Path<Vec<(String, String)>>;

/// What was written.
#[derive(Serialize)]
struct Written {
    offset: i64,
    /// When it comes into force: the safety catch lets it wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_at: Option<String>,
}

/// The pages of the resources.
pub(super) fn routes() -> [(&'static str, MethodRouter<Arc<Api>>); 11] {
    [
        ("/v1/policies", all(Kind::Tenant)),
        ("/v1/policies/{tenant}", one(Kind::Tenant)),
        ("/v1/policies/{tenant}/conversations/{conversation}", one(Kind::Conversation)),
        ("/v1/terms", all(Kind::Terms)),
        ("/v1/terms/{tenant}", one(Kind::Terms)),
        ("/v1/holds", all(Kind::Hold)),
        ("/v1/holds/{id}", one(Kind::Hold)),
        ("/v1/erasures", all(Kind::Erasure)),
        ("/v1/erasures/{id}", one(Kind::Erasure)),
        ("/v1/replays", all(Kind::Replay)),
        ("/v1/replays/{id}", one(Kind::Replay)),
    ]
}

fn all(kind: Kind) -> MethodRouter<Arc<Api>> {
    get(move |State(api): Asked, headers: HeaderMap| list(kind, api, headers))
}

fn one(kind: Kind) -> MethodRouter<Arc<Api>> {
    get(move |State(api): Asked, headers: HeaderMap, Path(parts): Parts| {
        show(kind, api, headers, parts)
    })
    .put(
        move |State(api): Asked,
              headers: HeaderMap,
              Path(parts): Parts,
              confirming: Confirming,
              body: Bytes| { replace(kind, api, headers, parts, confirming, Some(body)) },
    )
    .delete(
        move |State(api): Asked, headers: HeaderMap, Path(parts): Parts, confirming: Confirming| {
            replace(kind, api, headers, parts, confirming, None)
        },
    )
}

async fn list(kind: Kind, api: Arc<Api>, headers: HeaderMap) -> Result<Json<Vec<Entry>>, Problem> {
    api.doors.admit(&headers, Wish::Read(kind), None)?;
    let book = api.with_topic(|topic| topic.read(now_ms())).await?;
    Ok(Json(book.beginning(kind.prefix()).cloned().collect()))
}

async fn show(
    kind: Kind,
    api: Arc<Api>,
    headers: HeaderMap,
    parts: Vec<(String, String)>,
) -> Result<Response, Problem> {
    let (key, tenant) = key(kind, &parts);
    api.doors.admit(&headers, Wish::Read(kind), tenant)?;
    let book = api.with_topic(|topic| topic.read(now_ms())).await?;
    let entry = book.get(&key).filter(|entry| !entry.is_withdrawn());
    let entry = entry.ok_or_else(|| Problem::nothing(&key))?;
    Ok((tag(entry.offset), Json(entry.clone())).into_response())
}

/// Replaces what is said under a key; without a body, withdraws it.
async fn replace(
    kind: Kind,
    api: Arc<Api>,
    headers: HeaderMap,
    parts: Vec<(String, String)>,
    confirming: Confirming,
    body: Option<Bytes>,
) -> Result<Response, Problem> {
    let (key, tenant) = key(kind, &parts);
    let author = api.doors.admit(&headers, Wish::Change(kind), tenant)?;
    let Query(confirmation) =
        confirming.map_err(|_| unprocessable("confirm and at_once are true or false"))?;
    let expected = expected(&headers)?;
    let value = body.map(|body| String::from_utf8(body.into())).transpose();
    let value = value.map_err(|_| unprocessable("the value is not UTF-8"))?;
    let withdrawn = value.is_none();
    if kind == Kind::Replay && api.has_ended(&key).await? {
        return Err(Problem::new(StatusCode::CONFLICT, format!("{key} has come to its end")));
    }
    let mut change = Change { key, value, expected };
    let now_ms = now_ms();
    if kind == Kind::Replay {
        let settled =
            api.with_topic(move |topic| topic.settled(&change, &topic.read(now_ms)?, now_ms));
        change = settled.await?;
    }
    let changes = vec![change.clone()];
    let made = match api.guard(&headers, change, confirmation.into(), now_ms).await? {
        Ok(guarded) => {
            let (effective_at, author) = (guarded.effective_at_ms.map(time), author.clone());
            let written = api.on_topic(move |topic| topic.write(&guarded, &author, now_ms));
            written.await?.map(|offsets| (offsets, effective_at))
        }
        Err(refused) => Err(refused),
    };
    let (offsets, effective_at) = match made {
        Ok(made) => made,
        Err(error) => {
            let problem = Problem::from(&error);
            let reported = api.with_topic(move |topic| {
                topic.refused(&changes, &author, &error, now_ms);
                Ok(())
            });
            // What matters is the refusal.
            drop(reported.await);
            return Err(problem);
        }
    };
    let offset = offsets.first().copied().unwrap_or_default();
    let status = match (withdrawn, &effective_at, expected) {
        (true, None, _) => return Ok((StatusCode::NO_CONTENT, tag(offset)).into_response()),
        (true, Some(_), _) => StatusCode::ACCEPTED,
        (false, _, Expected::Nothing) => StatusCode::CREATED,
        (false, _, Expected::Offset(_) | Expected::Anything) => StatusCode::OK,
    };
    Ok((status, tag(offset), Json(Written { offset, effective_at })).into_response())
}

/// The control key that a path names, and its tenant.
fn key(kind: Kind, parts: &[(String, String)]) -> (String, Option<&str>) {
    let values: Vec<&str> = parts.iter().map(|(_, value)| value.as_str()).collect();
    let tenant = parts.iter().find(|(name, _)| name == "tenant");
    (kind.key(&values), tenant.map(|(_, value)| value.as_str()))
}

fn tag(offset: i64) -> [(HeaderName, String); 1] {
    [(header::ETAG, format!("\"{offset}\""))]
}

/// What a change replaces, as its conditions say.
fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (Some("*"), None) => Ok(Expected::Anything),
        (Some(tag), None) => {
            let offset = tag.trim_matches('"').parse();
            offset
                .map(Expected::Offset)
                .map_err(|_| unprocessable("If-Match is not an ETag of this API"))
        }
        (None, Some("*")) => Ok(Expected::Nothing),
        (None, None) => Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "say what is replaced: If-Match with the ETag of a GET, or If-None-Match: *",
        )),
        (Some(_), Some(_)) | (None, Some(_)) => {
            Err(unprocessable("either If-Match, or If-None-Match: *"))
        }
    }
}

fn unprocessable(detail: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}
