//! What went wrong, as RFC 9457 says it.

use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::control::ControlError;
use crate::control::safety::{Caught, Toll};

/// The type of a problem that is solved by confirming the change.
const SAFETY_CATCH: &str = "urn:lethe:safety-catch";

/// An answer that is an error. It quotes nothing of the request's body.
#[derive(Debug, Serialize)]
pub(in crate::http) struct Problem {
    /// None: what HTTP says of the status is all there is to say.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    status: u16,
    title: &'static str,
    detail: String,
    /// What the change would end, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    forecast: Option<Vec<Toll>>,
    /// In so many seconds it is worth asking again.
    #[serde(skip)]
    retry_after_s: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let (status, detail) = (status.as_u16(), detail.into());
        Self { kind: None, status, title, detail, forecast: None, retry_after_s: None }
    }

    pub(super) fn failed(detail: String) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, detail)
    }

    pub(super) fn too_often(wait: Duration) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "ask less often");
        Self { retry_after_s: Some(wait.as_secs() + 1), ..problem }
    }

    pub(super) fn late() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "Kafka did not answer in time; the change may have been made",
        )
    }

    fn caught(caught: &Caught) -> Self {
        let problem = Self::new(StatusCode::CONFLICT, caught.to_string());
        let title = "The safety catch holds the change";
        Self { kind: Some(SAFETY_CATCH), title, forecast: Some(caught.tolls.clone()), ..problem }
    }

    /// What it says, in a line.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn nothing(key: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("nothing is said of {key}"))
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        Self::from(&error)
    }
}

impl From<&ControlError> for Problem {
    fn from(error: &ControlError) -> Self {
        let status = match error {
            ControlError::Caught(caught) => return Self::caught(caught),
            ControlError::Conflict { .. } => StatusCode::PRECONDITION_FAILED,
            ControlError::Needed { .. } | ControlError::Used { .. } => StatusCode::CONFLICT,
            ControlError::Refused { .. } | ControlError::Unfit { .. } => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            ControlError::Kafka(_) => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let bearer = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

pub(super) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such page; /v1/openapi.json lists them")
}

pub(super) async fn not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the page does not know this method")
}
