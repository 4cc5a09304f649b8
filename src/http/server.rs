//! The listener: accepts connections within a bound, and lets them end when the process does.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::api::auth::Doors;
use super::api::{self, Api, Options};
use super::drain::Caller;
use super::page::{self, Page};
use super::tls::{Files, Identity};
use super::{Shown, pages};
use crate::pipeline::Questions;
use crate::pipeline::settings::PipelineSettings;

/// Connections at a time: a load balancer, Prometheus and some people; each costs some 20 KiB.
const CONNECTIONS_MAX: u32 = 128;
/// How long a request's head may take to arrive, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may live: a reader that never reads ends here too.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);
/// How long answers under way may take once the process stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// The largest head that is read.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long to wait when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why there is no HTTP server.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error("HTTP cannot listen on {address}: {source}; choose another address with --http")]
    Bind {
        /// Where.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// Its certificate or key cannot be used.
    #[error("HTTPS: {0}")]
    Identity(String),
}

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    shown: Shown,
    page: Page,
    api: Option<Api>,
    /// None: it speaks plain HTTP.
    identity: Option<Arc<Identity>>,
}

impl Server {
    /// Listens on an address; nothing is answered before [`Server::serve`].
    ///
    /// # Errors
    /// The address is taken, or is none of this machine.
    pub async fn bind(address: &str, shown: Shown) -> Result<Self, HttpError> {
        let bound = TcpListener::bind(address).await;
        let listener =
            bound.map_err(|source| HttpError::Bind { address: address.to_owned(), source })?;
        let unknown = |source| HttpError::Bind { address: address.to_owned(), source };
        let doors = Doors::new(listener.local_addr().map_err(unknown)?, None);
        let page = Page::new(shown.clone(), Arc::new(doors));
        Ok(Self { listener, shown, page, api: None, identity: None })
    }

    /// Speaks TLS alone, with this certificate; none: plain HTTP.
    ///
    /// # Errors
    /// The files cannot be read, or do not belong together.
    pub fn with_tls(self, files: Option<Files>) -> Result<Self, HttpError> {
        let identity = files.map(Identity::read).transpose().map_err(HttpError::Identity)?;
        Ok(Self { identity: identity.map(Arc::new), ..self })
    }

    /// Answers the admin API, too.
    ///
    /// # Errors
    /// The system does not tell where it listens.
    pub fn with_api(
        self,
        settings: PipelineSettings,
        options: Options,
        questions: Arc<Questions>,
    ) -> io::Result<Self> {
        let doors = Arc::new(Doors::new(self.address()?, options.tokens.clone()));
        let page = Page::new(self.shown.clone(), Arc::clone(&doors));
        Ok(Self { page, api: Some(Api::new(settings, doors, options, questions)), ..self })
    }

    /// Where it listens: with port 0 the one that was free.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` is done, and then finishes what is under way.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let page = Arc::new(self.page);
        let mut router = pages::router(self.shown).merge(page::routes(Arc::clone(&page)));
        if let Some(api) = self.api {
            router = router.merge(api::router(Arc::new(api)));
        }
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
        let (stopping, stopped) = watch::channel(false);
        let accepting = async {
            // A semaphore that nobody closes always gives.
            while let Ok(permit) = Arc::clone(&connections).acquire_owned().await {
                match self.listener.accept().await {
                    Ok((stream, from)) => {
                        let caller = Caller::new(from, stream.local_addr().ok());
                        let router = router.clone().layer(Extension(caller));
                        let stopped = stopped.clone();
                        let identity = self.identity.clone();
                        tokio::spawn(async move {
                            // It holds its place among the bounded number until it ends.
                            let _permit = permit;
                            accept(stream, identity.as_deref(), router, stopped).await;
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "an HTTP connection could not be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            () = page.watch() => {}
            () = stop => {}
        }
        stopping.send_replace(true);
        // Whoever has not finished by then is dropped with the runtime.
        drop(timeout(STOP_TIMEOUT, connections.acquire_many(CONNECTIONS_MAX)).await);
    }
}

/// Serves one connection, once it is safe.
async fn accept(
    stream: TcpStream,
    identity: Option<&Identity>,
    router: Router,
    stopped: watch::Receiver<bool>,
) {
    let Some(identity) = identity else { return connection(stream, router, stopped).await };
    match timeout(HEAD_TIMEOUT, identity.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => connection(stream, router, stopped).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS connection could not be made"),
        Err(_) => tracing::debug!("a TLS connection was not made in time"),
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        _ = stopped.changed() => {
            served.as_mut().graceful_shutdown();
            served.as_mut().await
        }
        () = sleep(CONNECTION_TIMEOUT) => return,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}
