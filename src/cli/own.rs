//! The process on this host, as the verbs that ask it find it: where its HTTP listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::settings::Place;
use crate::error::Failure;
use crate::http::client;

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
    /// The address at which it is reached from this host.
    pub(super) async fn address(&self) -> Result<SocketAddr, Failure> {
        let place = Place { config: self.config.clone(), ..Place::default() };
        let http = place.load([("http", self.http.clone())])?.http;
        let unknown =
            |why: String| Failure::Failed(format!("{http}: {why}; --http says where it is"));
        let found = client::resolve(&http).await.map_err(|error| unknown(error.to_string()))?;
        let first = found.into_iter().next();
        first.map(reachable).ok_or_else(|| unknown("it is no address".to_owned()))
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
