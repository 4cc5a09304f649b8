//! `/v1/…`: what the command line can do, over HTTP: policies, terms, holds, erasures, and questions.
//!
//! Each resource is a record of the control topic: its body is the record's value, its ETag the
//! record's offset. Errors are problem details (RFC 9457).
//!
//! Invariants: a change names what it replaces (`If-Match` or `If-None-Match: *`), so that two
//! writers do not overwrite each other; who may do what is decided in `auth` alone; requests are
//! bounded in size, number and time.

mod ask;
pub(super) mod auth;
mod guard;
mod openapi;
mod problem;
mod rate;
mod records;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::drain::Caller;
use super::tls::Trust;
use crate::audit::Pseudonyms;
use crate::control::safety::Limits;
use crate::control::{ControlError, ControlTopic};
use crate::pipeline::Questions;
use crate::pipeline::settings::PipelineSettings;
use auth::Doors;
use problem::Problem;
use rate::Limiter;

/// The largest body: a control record's value is at most 64 KiB.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Requests that read or change the control topic at a time; each costs a consumer or a producer.
const CALLS_MAX: usize = 4;
/// See [`Api::answer_within`].
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What the admin API is told.
#[derive(Clone)]
pub struct Options {
    /// The file that says who may do what.
    pub tokens: Option<PathBuf>,
    /// How the audit names users.
    pub pseudonyms: Pseudonyms,
    /// The HTTP servers of all of the group's processes.
    pub peers: Vec<String>,
    /// Whom to trust for those that speak TLS.
    pub peers_trust: Option<Trust>,
    /// What has to be confirmed.
    pub safety: Limits,
}

/// The admin API of a process.
pub(super) struct Api {
    settings: PipelineSettings,
    options: Options,
    doors: Arc<Doors>,
    limiter: Limiter,
    questions: Arc<Questions>,
    turns: Semaphore,
    /// How long a request may take, the wait for its turn included.
    answer_within: Duration,
    /// Made at the first request, and again after a failure.
    topic: Mutex<Option<Arc<ControlTopic>>>,
}

impl Api {
    /// The API of a process; the doors say who may do what.
    pub(super) fn new(
        settings: PipelineSettings,
        doors: Arc<Doors>,
        options: Options,
        questions: Arc<Questions>,
    ) -> Self {
        Self {
            settings,
            doors,
            options,
            limiter: Limiter::default(),
            questions,
            turns: Semaphore::new(CALLS_MAX),
            answer_within: ANSWER_WITHIN,
            topic: Mutex::default(),
        }
    }

    /// Does something with the control topic.
    async fn with_topic<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&ControlTopic) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, Problem> {
        Ok(self.on_topic(call).await??)
    }

    /// The same, on a thread where it may wait: what came of it, or why nothing did.
    async fn on_topic<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&ControlTopic) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<Result<T, ControlError>, Problem> {
        let api = Arc::clone(self);
        let done = timeout(self.answer_within, async {
            let _turn = self.turns.acquire().await;
            tokio::task::spawn_blocking(move || {
                let topic = api.connected()?;
                let done = call(&topic);
                if matches!(done, Err(ControlError::Kafka(_))) {
                    *api.lock() = None;
                }
                done
            })
            .await
        });
        match done.await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(Problem::failed(error.to_string())),
            Err(_) => Err(Problem::late()),
        }
    }

    fn connected(&self) -> Result<Arc<ControlTopic>, ControlError> {
        if let Some(topic) = &*self.lock() {
            return Ok(Arc::clone(topic));
        }
        let topic = Arc::new(ControlTopic::connect(
            self.settings.clone(),
            self.options.pseudonyms.clone(),
        )?);
        *self.lock() = Some(Arc::clone(&topic));
        Ok(topic)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<ControlTopic>>> {
        self.topic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The routes of the API.
pub(super) fn router(api: Arc<Api>) -> Router {
    let mut router = Router::new().route("/v1/openapi.json", get(openapi::show));
    for (path, methods) in records::routes().into_iter().chain(ask::routes()) {
        router = router.route(path, methods);
    }
    router
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&api), limit))
        .with_state(api)
}

/// Refuses a caller that asks too often: one with a known token is that token, wherever it is.
async fn limit(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let who = api.doors.name(request.headers()).unwrap_or_else(|| caller.address.to_string());
    api.limiter.take(&who, Instant::now()).map_err(Problem::too_often)?;
    Ok(next.run(request).await)
}
