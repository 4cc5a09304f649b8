//! The process on this host, as the verbs that ask it find it: where its HTTP listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::settings::Place;
use crate::error::Failure;
use crate::http::client;
use crate::http::tls::Trust;

/// Where the process is.
#[derive(Args, Debug)]
pub(super) struct Own {
    /// The configuration file (TOML) of the process
    #[arg(long, value_name = "FILE", env = "LETHE_CONFIG")]
    config: Option<PathBuf>,

    /// Where its HTTP listens [env: LETHE_HTTP] [default: 127.0.0.1:9644]
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
}

impl Own {
    /// Where it is reached from this host. Where it speaks TLS, its own certificate is trusted and no other: what
    /// it is called from here is in none.
    pub(super) async fn place(&self) -> Result<client::Place, Failure> {
        let place = Place { config: self.config.clone(), ..Place::default() };
        let settings = place.load([("http", self.http.clone())])?;
        let http = settings.http;
        let unknown =
            |why: String| Failure::Failed(format!("{http}: {why}; --http says where it is"));
        let found =
            client::resolve(&http, None).await.map_err(|error| unknown(error.to_string()))?;
        let first =
            found.into_iter().next().ok_or_else(|| unknown("it is no address".to_owned()))?;
        let trust = settings.http_tls.map(|files| Trust::Pinned(files.certificate));
        let address = reachable(first.address);
        Ok(client::Place { address, host: address.ip().to_string(), trust })
    }
}

/// Where a listener is reached from its own host.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::reachable;

    #[test]
    fn a_listener_on_every_address_is_reached_on_loopback() {
        let at = |http: &str| {
            http.parse().map(|address| reachable(address).to_string()).unwrap_or_default()
        };
        assert_eq!(at("0.0.0.0:9644"), "127.0.0.1:9644");
        assert_eq!(at("[::]:9644"), "[::1]:9644");
        assert_eq!(at("10.0.0.5:1"), "10.0.0.5:1");
    }
}
