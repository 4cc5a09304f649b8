//! `/v1/drain`: makes the process leave its group for good, and says how far it is.
//!
//! Invariant: only who is on the same host may ask for it, and no page that a browser there shows.

use std::net::{IpAddr, SocketAddr};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};

use super::Shown;
use crate::telemetry::health::{Drain, Health};

/// Where it is.
pub const PATH: &str = "/v1/drain";

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// How far the process is.
    pub drain: Drain,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// Where it is.
    pub(super) address: IpAddr,
    /// Both ends are on this host.
    pub(super) is_local: bool,
}

impl Caller {
    /// A caller with the address that it called is on the same host: it has no other way to get it.
    pub(super) fn new(from: SocketAddr, to: Option<SocketAddr>) -> Self {
        let same = to.is_some_and(|to| to.ip().to_canonical() == from.ip().to_canonical());
        let address = from.ip().to_canonical();
        Self { address, is_local: from.ip().to_canonical().is_loopback() || same }
    }
}

pub(super) fn routes() -> Router<Shown> {
    Router::new().route(PATH, get(is).post(drain))
}

async fn is(State(shown): State<Shown>) -> Json<Answer> {
    state(&shown.health)
}

async fn drain(
    State(shown): State<Shown>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Response {
    if !caller.is_local || headers.contains_key(header::ORIGIN) {
        return (StatusCode::FORBIDDEN, "only `lethe drain` on the same host may ask for this\n")
            .into_response();
    }
    if shown.health.snapshot().drain == Drain::Not {
        tracing::info!("draining: the transactions at hand are finished, then the group is left");
        shown.health.drain(Drain::Draining);
        shown.shutdown.drain();
    }
    (StatusCode::ACCEPTED, state(&shown.health)).into_response()
}

fn state(health: &Health) -> Json<Answer> {
    Json(Answer { drain: health.snapshot().drain })
}

#[cfg(test)]
mod tests {
    use super::Caller;

    #[test]
    fn who_is_on_this_host() {
        let local = |from: &str, to: &str| {
            let to = to.parse().ok();
            from.parse().is_ok_and(|from| Caller::new(from, to).is_local)
        };
        assert!(local("127.0.0.1:5000", "127.0.0.1:9644"));
        assert!(local("[::1]:5000", "[::1]:9644"));
        assert!(local("[::ffff:127.0.0.1]:5000", "[::ffff:127.0.0.1]:9644"));
        assert!(local("10.0.0.5:5000", "10.0.0.5:9644"));
        assert!(!local("10.0.0.6:5000", "10.0.0.5:9644"));
        assert!(!local("10.0.0.6:5000", ""));
    }
}
