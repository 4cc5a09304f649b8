//! One HTTP GET: all that the tests need of HTTP.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// The status and the body of a page.
pub(crate) fn get(address: &str, path: &str) -> Result<(u16, String), String> {
    let refused = |error: std::io::Error| format!("http://{address}{path}: {error}");
    let mut stream = TcpStream::connect(address).map_err(refused)?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(refused)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").map_err(refused)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(refused)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or("an answer without a status")?, body.to_owned()))
}
