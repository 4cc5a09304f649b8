//! A client for the pages of other processes: one request a connection, everything bounded.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long an answer may take for which records are counted: what the server allows, and a little.
const COUNTED_WITHIN: Duration = Duration::from_secs(35);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The name is not known, or nobody listens there.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is not an answer.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// It is longer than anything that lethe answers, or breaks off.
    #[error("{0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("no answer in time")]
    Late(#[from] tokio::time::error::Elapsed),
    /// It says no.
    #[error("{status}: {body}")]
    Refused {
        /// HTTP's status.
        status: StatusCode,
        /// What it says.
        body: String,
    },
}

/// Every address behind `HOST:PORT`: a headless service's name has one for each process.
///
/// # Errors
/// The name is not known.
pub async fn resolve(endpoint: &str) -> Result<Vec<SocketAddr>, AskError> {
    Ok(timeout(ANSWER_WITHIN, lookup_host(endpoint)).await??.collect())
}

/// Asks for a page.
///
/// # Errors
/// Nobody answers, or the answer is no.
pub async fn get(address: SocketAddr, path: &str) -> Result<Bytes, AskError> {
    timeout(ANSWER_WITHIN, ask(Method::GET, address, path, &Call::default())).await?
}

/// Asks for something to be done.
///
/// # Errors
/// Nobody answers, or the answer is no.
pub async fn post(address: SocketAddr, path: &str) -> Result<Bytes, AskError> {
    timeout(ANSWER_WITHIN, ask(Method::POST, address, path, &Call::default())).await?
}

/// What comes with a question to the admin API.
#[derive(Clone, Default)]
pub struct Call {
    /// The bearer token.
    pub token: Option<String>,
    /// The body; none: it is a GET.
    pub body: Option<String>,
}

/// Asks the admin API of a process: for what its partitions know, which may take a while.
///
/// # Errors
/// Nobody answers, or the answer is no.
pub async fn call(address: SocketAddr, path: &str, call: &Call) -> Result<Bytes, AskError> {
    let method = if call.body.is_some() { Method::POST } else { Method::GET };
    timeout(COUNTED_WITHIN, ask(method, address, path, call)).await?
}

/// Asks every process behind these endpoints, all at once; an error says where.
pub async fn call_all(endpoints: &[String], path: &str, what: &Call) -> Vec<Result<Bytes, String>> {
    let mut answers = Vec::new();
    let mut calls = JoinSet::new();
    for endpoint in endpoints {
        let addresses = match resolve(endpoint).await {
            Ok(addresses) => addresses,
            Err(error) => {
                answers.push(Err(format!("{endpoint}: {error}")));
                continue;
            }
        };
        for address in addresses {
            let (endpoint, path, with) = (endpoint.clone(), path.to_owned(), what.clone());
            calls.spawn(async move {
                let answer = call(address, &path, &with).await;
                answer.map_err(|error| format!("{endpoint}: {error}"))
            });
        }
    }
    answers.extend(calls.join_all().await);
    answers
}

async fn ask(
    method: Method,
    address: SocketAddr,
    path: &str,
    call: &Call,
) -> Result<Bytes, AskError> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::HOST, address.to_string());
    let request = match &call.token {
        Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
        None => request,
    };
    let body = Full::new(Bytes::from(call.body.clone().unwrap_or_default()));
    let request = request.body(body).map_err(|error| AskError::Body(error.into()))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
    let body = body.collect().await.map_err(AskError::Body)?.to_bytes();
    connection.abort();
    if !status.is_success() {
        let body = String::from_utf8_lossy(&body).trim().to_owned();
        return Err(AskError::Refused { status, body });
    }
    Ok(body)
}
