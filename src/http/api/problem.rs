//! What went wrong, as RFC 9457 says it.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::control::ControlError;

/// An answer that is an error. It quotes nothing of the request's body.
#[derive(Debug, Serialize)]
pub(in crate::http) struct Problem {
    status: u16,
    title: &'static str,
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { status: status.as_u16(), title, detail: detail.into() }
    }

    pub(super) fn failed(detail: String) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, detail)
    }

    pub(super) fn late() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "Kafka did not answer in time; the change may have been made",
        )
    }

    pub(super) fn nothing(key: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("nothing is said of {key}"))
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let status = match &error {
            ControlError::Conflict { .. } => StatusCode::PRECONDITION_FAILED,
            ControlError::Needed { .. } => StatusCode::CONFLICT,
            ControlError::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
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
        response
    }
}

pub(super) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such page; /v1/openapi.json lists them")
}

pub(super) async fn not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the page does not know this method")
}
