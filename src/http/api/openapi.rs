//! `/v1/openapi.json`: the API as a document.

use axum::http::header;
use axum::response::IntoResponse;

/// The document; a test compares its paths with the routes.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn show() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}
