//! The pages as a client sees them, over a real connection.
#![expect(clippy::unwrap_used, reason = "a failing test is the point")]

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Server, Shown};
use crate::telemetry::health::{Drain, Health, StandbyReport};

struct Running {
    health: Arc<Health>,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

pub(super) fn shown() -> Shown {
    Shown::new(1, 1, PrometheusBuilder::new().build_recorder().handle())
}

async fn start() -> Running {
    let shown = shown();
    let health = Arc::clone(&shown.health);
    let server = Server::bind("127.0.0.1:0", shown).await.unwrap();
    let address = server.address().unwrap();
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(server.serve(async { drop(stopped.await) }));
    Running { health, address, stop, server }
}

impl Running {
    /// The status line's number and the whole answer.
    async fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\n")).await
    }

    /// The answer to a request that begins with these lines.
    async fn ask(&self, head: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{head}host: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
    }
}

#[tokio::test]
async fn readyz_says_why_not_until_ready_and_while_stopping() {
    let running = start().await;
    let (status, text) = running.get("/readyz").await;
    assert!(status == 503 && text.ends_with("reading the control topic\n"), "{text}");
    running.health.control_read();
    running.health.joined(0);
    assert_eq!(running.get("/readyz").await.0, 200);
    running.health.stopping();
    let (status, text) = running.get("/readyz").await;
    assert!(status == 503 && text.ends_with("stopping\n"), "{text}");
    assert_eq!(running.get("/livez").await.0, 200);
}

#[tokio::test]
async fn livez_fails_when_the_work_has_ended_for_good() {
    let running = start().await;
    assert_eq!(running.get("/livez").await.0, 200);
    running.health.fatal("the disk is full");
    let (status, text) = running.get("/livez").await;
    assert!(status == 503 && text.contains("the disk is full"), "{text}");
}

#[tokio::test]
async fn a_standby_says_how_far_it_is() {
    let running = start().await;
    running.health.control_read();
    running.health.joined(0);
    running.health.standby(StandbyReport { wanted: 3, current: 2, behind: 7 });
    let (status, text) = running.get("/readyz").await;
    let said = "2 of 3 partitions are current, 7 records behind";
    assert!(status == 200 && text.ends_with(&format!("ready\nstandby: {said}\n")), "{text}");
    assert!(running.get("/").await.1.contains(said));
}

#[tokio::test]
async fn drain_is_for_who_is_on_the_host_and_not_for_its_browser() {
    let running = start().await;
    let (status, text) = running.get("/v1/drain").await;
    assert!(status == 200 && text.ends_with("{\"drain\":\"not\"}"), "{text}");
    let page = "POST /v1/drain HTTP/1.1\r\norigin: http://example.com\r\n";
    assert_eq!(running.ask(page).await.0, 403);
    assert!(running.get("/v1/drain").await.1.ends_with("{\"drain\":\"not\"}"));
    for _ in 0..2 {
        let (status, text) = running.ask("POST /v1/drain HTTP/1.1\r\n").await;
        assert!(status == 202 && text.ends_with("{\"drain\":\"draining\"}"), "{text}");
    }
    running.health.drain(Drain::Drained);
    assert!(running.get("/v1/drain").await.1.ends_with("{\"drain\":\"drained\"}"));
}

#[tokio::test]
async fn metrics_and_status_page() {
    let running = start().await;
    let (status, text) = running.get("/metrics").await;
    assert!(status == 200 && text.contains("content-type: text/plain; version=0.0.4"), "{text}");
    let (status, text) = running.get("/").await;
    assert!(
        status == 200 && text.contains("content-security-policy: default-src 'none'"),
        "{text}"
    );
    assert_eq!(running.get("/nothing").await.0, 404);
}

#[tokio::test]
async fn stopping_ends_idle_connections_at_once() {
    let running = start().await;
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(idle.read(&mut [0; 1024]).await.unwrap() > 0);
    running.stop.send(()).unwrap();
    timeout(Duration::from_secs(5), running.server).await.unwrap().unwrap();
    assert_eq!(idle.read(&mut [0; 1024]).await.unwrap(), 0, "the server has closed it");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let running = start().await;
    let taken = running.address.to_string();
    let error = Server::bind(&taken, shown()).await.err().unwrap();
    assert!(error.to_string().contains(&taken), "{error}");
}
