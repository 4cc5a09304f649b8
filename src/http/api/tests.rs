//! The document and the routes say the same; what happens on a broker is tested there.
#![expect(clippy::unwrap_used, reason = "a failing test is the point")]

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::config::Settings;

/// An API whose broker is not there.
fn api() -> Arc<Api> {
    let listens = "127.0.0.1:9644".parse().unwrap();
    let settings = Settings::load(None, [], [("brokers", "127.0.0.1:1".to_owned())]).unwrap();
    let options = Options {
        tokens: None,
        pseudonyms: Pseudonyms::default(),
        peers: Vec::new(),
        peers_trust: None,
        safety: settings.safety,
    };
    let questions = Arc::new(Questions::new(1));
    Arc::new(Api::new(settings.pipeline, Arc::new(Doors::new(listens, None)), options, questions))
}

/// Asks as somebody at this address; the status, the headers and the problem.
async fn ask(api: &Arc<Api>, from: &str, request: Request) -> (StatusCode, HeaderMap, Value) {
    let caller = Caller::new(from.parse().unwrap(), None);
    let answer = router(Arc::clone(api)).layer(Extension(caller)).oneshot(request).await.unwrap();
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or_default())
}

fn get_of(path: &str) -> Request {
    Request::get(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_ask_again() {
    let api = api();
    let (mut refused, mut asked) = (None, 0);
    while refused.is_none() && asked < 1_000 {
        let (status, headers, problem) = ask(&api, "10.0.0.1:5", get_of("/v1/nothing")).await;
        asked += 1;
        refused = (status == StatusCode::TOO_MANY_REQUESTS).then_some((headers, problem));
    }
    let (headers, problem) = refused.unwrap();
    assert!(asked > 100, "{asked} requests at once are too few");
    assert_eq!(headers.get(CONTENT_TYPE).unwrap(), "application/problem+json");
    assert!(headers.get(RETRY_AFTER).unwrap().to_str().unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(problem.get("status"), Some(&Value::from(429)));
    let (status, ..) = ask(&api, "10.0.0.2:5", get_of("/v1/nothing")).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "others are not held up");
}

#[tokio::test]
async fn who_has_no_turn_in_time_is_told_so() {
    let mut api = api();
    Arc::get_mut(&mut api).unwrap().answer_within = Duration::from_millis(20);
    let _turns = api.turns.acquire_many(u32::try_from(CALLS_MAX).unwrap()).await.unwrap();
    let (status, headers, problem) = ask(&api, "127.0.0.1:5", get_of("/v1/policies")).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{problem}");
    assert_eq!(headers.get(CONTENT_TYPE).unwrap(), "application/problem+json");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    let large = vec![b' '; BODY_BYTES_MAX + 1];
    let request = Request::put("/v1/holds/case-7").header("if-none-match", "*");
    let request = request.header(CONTENT_TYPE, "application/json").body(Body::from(large));
    let (status, _, problem) = ask(&api(), "127.0.0.1:5", request.unwrap()).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{problem}");
}

#[test]
fn the_document_lists_the_routes_and_nothing_else() {
    let document: Value = serde_json::from_str(openapi::DOCUMENT).unwrap();
    let mut listed: Vec<&str> =
        document.get("paths").unwrap().as_object().unwrap().keys().map(String::as_str).collect();
    let mut routed: Vec<&str> = records::routes().iter().map(|(path, _)| *path).collect();
    routed.extend(super::ask::routes().iter().map(|(path, _)| *path));
    listed.sort_unstable();
    routed.sort_unstable();
    assert_eq!(listed, routed);
}

#[test]
fn the_documents_references_lead_somewhere() {
    let document: Value = serde_json::from_str(openapi::DOCUMENT).unwrap();
    let named = openapi::DOCUMENT.split("#/components/schemas/").skip(1);
    let names: Vec<&str> = named.filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.len() > 10);
    for name in names {
        assert!(document.pointer(&format!("/components/schemas/{name}")).is_some(), "{name}");
    }
}
