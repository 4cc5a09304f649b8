//! `lethe drain`: has the process on this host leave its group for good, and waits until it has.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::settings::Place;
use crate::error::Failure;
use crate::http::DRAIN_PATH;
use crate::telemetry::health::Drain as State;

/// How often it is asked how far it is.
const LOOK: Duration = Duration::from_millis(100);
/// How long one question may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long all of it may take: the workers leave within 10 s each, side by side, and a transaction may
/// be under way before.
const PATIENCE: Duration = Duration::from_secs(60);
/// An answer is one short line.
const ANSWER_BYTES_MAX: u64 = 16 << 10;

/// Have the process on this host leave its group for good, so that others take over at once
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  lethe drain\n  lethe drain --http 127.0.0.1:9644 --json\n\nFor \
                        taking a process away: a SIGTERM alone keeps its place in the group for a \
                        restart. A drained process stays up, takes no work, and waits for SIGTERM; \
                        started anew, it joins the group again."
)]
pub(super) struct Drain {
    /// The configuration file (TOML) of the process
    #[arg(long, value_name = "FILE", env = "LETHE_CONFIG")]
    config: Option<PathBuf>,

    /// Where its HTTP listens [env: LETHE_HTTP] [default: 127.0.0.1:9644]
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(verb: &Drain) -> Result<(), Failure> {
    let place = Place { config: verb.config.clone(), brokers: None };
    let http = place.load([("http", verb.http.clone())])?.http;
    let address = reachable(&http)?;
    let started = Instant::now();
    let mut state = ask(address, "POST")?;
    while state != State::Drained.name() {
        if started.elapsed() > PATIENCE {
            return Err(Failure::Failed(format!(
                "the process at {address} has not left its group within {} s (it says: {state}); its \
                 log says why",
                PATIENCE.as_secs()
            )));
        }
        thread::sleep(LOOK);
        state = ask(address, "GET")?;
    }
    let text = if verb.json {
        format!("{}\n", serde_json::json!({ "drain": state }))
    } else {
        "drained: the process has left its group\n".to_owned()
    };
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| Failure::Failed(format!("standard output: {error}")))
}

/// Where a listener is reached from its own host.
fn reachable(http: &str) -> Result<SocketAddr, Failure> {
    let found = http.to_socket_addrs().ok().and_then(|mut found| found.next());
    let mut address = found
        .ok_or_else(|| Failure::Failed(format!("{http} is no address; give one with --http")))?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(address)
}

/// Asks the process, and gives the state that it is in.
fn ask(address: SocketAddr, method: &str) -> Result<String, Failure> {
    let failed = |why: String| {
        Failure::Failed(format!(
            "no answer from the process at {address}: {why}; --http says where it listens"
        ))
    };
    let (status, body) = exchange(address, method).map_err(|error| failed(error.to_string()))?;
    let answer: serde_json::Value =
        serde_json::from_str(&body).map_err(|_| failed(format!("status {status}, not lethe's")))?;
    match (answer.get("drain"), answer.get("error")) {
        (Some(state), _) => Ok(state.as_str().unwrap_or_default().to_owned()),
        (None, error) => {
            let why =
                error.and_then(|error| error.as_str()).unwrap_or("it does not know the request");
            Err(failed(format!("status {status}, {why}")))
        }
    }
}

/// One request over a connection of its own: its status and its body.
fn exchange(address: SocketAddr, method: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect_timeout(&address, CALL_TIMEOUT)?;
    stream.set_read_timeout(Some(CALL_TIMEOUT))?;
    stream.set_write_timeout(Some(CALL_TIMEOUT))?;
    let close = "connection: close\r\ncontent-length: 0\r\n";
    write!(stream, "{method} {DRAIN_PATH} HTTP/1.1\r\nhost: {address}\r\n{close}\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or("none");
    Ok((status.to_owned(), body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::reachable;

    #[test]
    fn a_listener_on_every_address_is_reached_on_loopback() {
        let at = |http| reachable(http).map(|address| address.to_string()).unwrap_or_default();
        assert_eq!(at("0.0.0.0:9644"), "127.0.0.1:9644");
        assert_eq!(at("[::]:9644"), "[::1]:9644");
        assert_eq!(at("10.0.0.5:1"), "10.0.0.5:1");
    }
}
