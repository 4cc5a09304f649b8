//! A client for the pages of other processes: one request a connection, everything bounded.
//!
//! An endpoint is `HOST:PORT`, or `https://HOST:PORT` where TLS is spoken.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;

use super::tls::Trust;

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
    /// It cannot be spoken to safely.
    #[error("{0}")]
    Tls(String),
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

/// How an endpoint begins where TLS is spoken.
const HTTPS: &str = "https://";

/// A process that listens.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where.
    pub address: SocketAddr,
    /// By what name it was asked for.
    pub host: String,
    /// Whom to trust; none: TLS is not spoken.
    pub trust: Option<Trust>,
}

/// Every process behind an endpoint: a headless service's name has one address for each. `trust` is for those that
/// speak TLS.
///
/// # Errors
/// The name is not known, or nobody says whom to trust.
pub async fn resolve(endpoint: &str, trust: Option<&Trust>) -> Result<Vec<Place>, AskError> {
    let (authority, trust) = match endpoint.strip_prefix(HTTPS) {
        None => (endpoint, None),
        Some(authority) => {
            let unknown = || AskError::Tls("whom to trust is not said: --ca, peers_ca".to_owned());
            (authority, Some(trust.cloned().ok_or_else(unknown)?))
        }
    };
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_matches(['[', ']']).to_owned();
    let addresses = timeout(ANSWER_WITHIN, lookup_host(authority)).await??;
    let place = |address| Place { address, host: host.clone(), trust: trust.clone() };
    Ok(addresses.map(place).collect())
}

/// Asks for a page.
///
/// # Errors
/// Nobody answers, or the answer is no.
pub async fn get(place: &Place, path: &str) -> Result<Bytes, AskError> {
    timeout(ANSWER_WITHIN, ask(Method::GET, place, path, &Call::default())).await?
}

/// Asks for something to be done.
///
/// # Errors
/// Nobody answers, or the answer is no.
pub async fn post(place: &Place, path: &str) -> Result<Bytes, AskError> {
    timeout(ANSWER_WITHIN, ask(Method::POST, place, path, &Call::default())).await?
}

/// What comes with a question to the admin API.
#[derive(Clone, Default)]
pub struct Call {
    /// The bearer token.
    pub token: Option<String>,
    /// The body; none: it is a GET.
    pub body: Option<String>,
    /// Whom to trust where TLS is spoken.
    pub trust: Option<Trust>,
}

/// Asks the admin API of a process: for what its partitions know, which may take a while.
///
/// # Errors
/// Nobody answers, or the answer is no.
pub async fn call(place: &Place, path: &str, call: &Call) -> Result<Bytes, AskError> {
    let method = if call.body.is_some() { Method::POST } else { Method::GET };
    timeout(COUNTED_WITHIN, ask(method, place, path, call)).await?
}

/// Asks every process behind these endpoints, all at once; an error says where.
pub async fn call_all(endpoints: &[String], path: &str, what: &Call) -> Vec<Result<Bytes, String>> {
    let mut answers = Vec::new();
    let mut calls = JoinSet::new();
    for endpoint in endpoints {
        let places = match resolve(endpoint, what.trust.as_ref()).await {
            Ok(places) => places,
            Err(error) => {
                answers.push(Err(format!("{endpoint}: {error}")));
                continue;
            }
        };
        for place in places {
            let (endpoint, path, with) = (endpoint.clone(), path.to_owned(), what.clone());
            calls.spawn(async move {
                let answer = call(&place, &path, &with).await;
                answer.map_err(|error| format!("{endpoint}: {error}"))
            });
        }
    }
    answers.extend(calls.join_all().await);
    answers
}

async fn ask(method: Method, place: &Place, path: &str, call: &Call) -> Result<Bytes, AskError> {
    let stream = TcpStream::connect(place.address).await?;
    let Some(trust) = &place.trust else { return talk(stream, method, place, path, call).await };
    let name = ServerName::try_from(place.host.clone());
    let name = name.map_err(|_| AskError::Tls(format!("{} is no name", place.host)))?;
    let connector = trust.connector().map_err(AskError::Tls)?;
    let stream = connector.connect(name, stream).await?;
    talk(stream, method, place, path, call).await
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    place: &Place,
    path: &str,
    call: &Call,
) -> Result<Bytes, AskError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::HOST, place.address.to_string());
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
