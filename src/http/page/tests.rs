//! The page as text; a real browser looks at it in `tests/deploy/page.rs`.
#![expect(clippy::unwrap_used, reason = "a failing test is the point")]

use std::fs;
use std::net::SocketAddr;

use axum::http::{HeaderName, HeaderValue};
use http_body_util::BodyExt as _;
use lethe_engine::ControlRecord;
use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;
use crate::telemetry::names;
use crate::telemetry::reports::Reported;

/// `printf %s secret | sha256sum`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn page(listens: &str, tokens: Option<std::path::PathBuf>) -> Page {
    let shown = Shown::new(1, 1, PrometheusBuilder::new().build_recorder().handle());
    shown.reports.add([Reported {
        at_ms: 1,
        about: "tenant/acme".into(),
        what: "in force".into(),
    }]);
    let hold = br#"{"tenant": "acme", "user": "ada"}"#;
    shown.control.append(ControlRecord::parse(0, 1, b"hold/case-7", Some(hold)));
    let listens: SocketAddr = listens.parse().unwrap();
    let page = Page::new(shown, Arc::new(Doors::new(listens, tokens)));
    page.followed.follow(&page.shown.control, 2);
    page
}

async fn ask(page: Page, token: Option<&str>) -> (HeaderMap, String) {
    let bearer = |token: &str| HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    let headers = token.map(|token| (header::AUTHORIZATION, bearer(token)));
    let response = show(State(Arc::new(page)), headers.into_iter().collect()).await;
    let (parts, body) = response.into_parts();
    let text = body.collect().await.unwrap().to_bytes();
    // A slash is escaped where it is put in.
    (parts.headers, String::from_utf8(text.to_vec()).unwrap().replace("&#x2f;", "/"))
}

async fn shows_names(page: Page, token: Option<&str>) -> bool {
    let (_, text) = ask(page, token).await;
    assert!(text.contains("<h1 id=\"headline\""), "{text}");
    let shown = ["hold/case-7", "tenant/acme"].map(|name| text.contains(name));
    assert_eq!(shown.first(), shown.last(), "all or nothing: {text}");
    shown.contains(&true)
}

#[tokio::test]
async fn names_are_for_those_who_may_read_them_through_the_api() {
    assert!(shows_names(page("127.0.0.1:9644", None), None).await);
    assert!(!shows_names(page("0.0.0.0:9644", None), None).await);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens.toml");
    let token =
        |role: &str| format!("[[token]]\nname = \"t\"\nsha256 = \"{SECRET}\"\nrole = \"{role}\"\n");
    for (role, sees) in [("reader", true), ("compliance", true), ("tenant", false)] {
        fs::write(&file, token(role)).unwrap();
        let guarded = || page("127.0.0.1:9644", Some(file.clone()));
        assert_eq!(shows_names(guarded(), Some("secret")).await, sees, "{role}");
        assert!(!shows_names(guarded(), Some("wrong")).await);
        assert!(!shows_names(guarded(), None).await);
    }
}

#[tokio::test]
async fn the_browser_is_told_to_load_nothing_else() {
    let (headers, text) = ask(page("127.0.0.1:9644", None), None).await;
    let policy = headers.get(HeaderName::from_static("content-security-policy")).unwrap();
    let policy = policy.to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    // What is hashed stands in the page as it is.
    assert!(text.contains(&format!("<style>{STYLE}</style>")), "{text}");
    assert!(text.contains(&format!("<script>{SCRIPT}</script>")), "{text}");
    for foreign in ["src=\"http", "href=\"http", "url(", "@import", " onclick=", " style="] {
        assert!(!text.contains(foreign), "{foreign}");
    }
}

#[tokio::test]
async fn an_error_becomes_no_markup() {
    let page = page("127.0.0.1:9644", None);
    page.shown.health.caution(Some("it was <recreated>".to_owned()));
    let (_, text) = ask(page, None).await;
    assert!(text.contains("it was &lt;recreated&gt;"), "{text}");
    assert!(text.contains("A promise is not kept"), "{text}");
}

#[tokio::test]
async fn replays_and_waiting_changes_are_shown_where_there_are_some() {
    let (_, text) = ask(page("127.0.0.1:9644", None), None).await;
    assert!(!text.contains("id=\"replays\"") && !text.contains("id=\"waiting\""), "{text}");
    let recorder = PrometheusBuilder::new().build_recorder();
    let mut busy = page("127.0.0.1:9644", None);
    busy.shown = Shown::new(1, 1, recorder.handle());
    metrics::with_local_recorder(&recorder, || {
        metrics::gauge!(names::REPLAYS, "class" => "message").set(1.0);
        metrics::gauge!(names::REPLAY_REMAINING, "class" => "message").set(1_234.0);
        metrics::gauge!(names::CHANGES_WAITING).set(2.0);
        metrics::gauge!(names::CHANGE_DUE).set(45.0);
    });
    let (_, text) = ask(busy, None).await;
    assert!(text.contains("Replays: in 1 partition, 1,234 offsets left to read."), "{text}");
    assert!(text.contains(
        "Waiting: 2 changes with an effective_at that is to come, the next one in 45\u{a0}s."
    ));
}
