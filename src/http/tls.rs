//! TLS of the listener and of those who ask it.
//!
//! Invariants: files that have changed count at the next connection, and broken ones never: what was read last goes on.
//! Nobody is trusted but the authority that was named, or the very certificate.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The files of the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Its certificate, and those between it and an authority (PEM).
    pub certificate: PathBuf,
    /// Its key (PEM).
    pub key: PathBuf,
}

/// When each of the files was changed.
type Changed = [Option<SystemTime>; 2];

/// What the listener shows.
pub(super) struct Identity {
    files: Files,
    known: Mutex<(Changed, TlsAcceptor)>,
}

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    /// They cannot be read, or do not belong together.
    pub(super) fn read(files: Files) -> Result<Self, String> {
        let known = Mutex::new((files.changed(), files.acceptor()?));
        Ok(Self { files, known })
    }

    /// What answers the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let changed = self.files.changed();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != changed {
            // Half of a pair may have been written: the other half changes it again.
            known.0 = changed;
            match self.files.acceptor() {
                Ok(acceptor) => {
                    tracing::info!("the listener's certificate was read again");
                    known.1 = acceptor;
                }
                Err(why) => tracing::error!("{why}; the former one goes on"),
            }
        }
        known.1.clone()
    }
}

impl Files {
    fn changed(&self) -> Changed {
        [&self.certificate, &self.key]
            .map(|file| fs::metadata(file).and_then(|about| about.modified()).ok())
    }

    fn acceptor(&self) -> Result<TlsAcceptor, String> {
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| format!("the key {}: {error}", self.key.display()))?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
        let config = config.map_err(|error| {
            let (certificate, key) = (self.certificate.display(), self.key.display());
            format!("the certificate {certificate} with the key {key}: {error}")
        })?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// What a client trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Certificates of the authorities in this file (PEM), for the name that is asked.
    Authority(PathBuf),
    /// The first certificate in this file and no other, whatever its name.
    Pinned(PathBuf),
}

impl Trust {
    /// What connects so.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn connector(&self) -> Result<TlsConnector, String> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = match self {
            Self::Authority(file) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(file)? {
                    let added = roots.add(certificate);
                    added.map_err(|error| format!("the authority {}: {error}", file.display()))?;
                }
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
                let verifier = verifier.build();
                let verifier = verifier
                    .map_err(|error| format!("the authority {}: {error}", file.display()))?;
                config.with_webpki_verifier(verifier)
            }
            Self::Pinned(file) => {
                let certificate = certificates(file)?.into_iter().next();
                let certificate = certificate.ok_or_else(|| nothing(file))?;
                let pinned = Pinned { certificate, provider: provider() };
                config.dangerous().with_custom_certificate_verifier(Arc::new(pinned))
            }
        };
        Ok(TlsConnector::from(Arc::new(config.with_no_client_auth())))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn nothing(file: &Path) -> String {
    format!("{} has no certificate (PEM)", file.display())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error| format!("the certificate {}: {error}", file.display());
    let read = CertificateDer::pem_file_iter(file).map_err(failed)?;
    let all: Vec<_> = read.collect::<Result<_, _>>().map_err(failed)?;
    if all.is_empty() { Err(nothing(file)) } else { Ok(all) }
}

/// Trusts one certificate.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.certificate {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failing test is the point")]
mod tests {
    use std::time::Duration;

    use rcgen::generate_simple_self_signed;
    use tokio::sync::oneshot;

    use super::super::client::{AskError, Place, get, resolve};
    use super::super::tests::shown;
    use super::super::{HttpError, Server};
    use super::*;

    /// Writes a certificate for a name, which is its own authority, and its key; they were changed so late.
    fn write(files: &Files, name: &str, later: Duration) {
        let made = generate_simple_self_signed([name.to_owned()]).unwrap();
        fs::write(&files.certificate, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        for file in [&files.certificate, &files.key] {
            let file = fs::File::options().append(true).open(file).unwrap();
            file.set_modified(SystemTime::now() + later).unwrap();
        }
    }

    fn files(dir: &Path) -> Files {
        Files { certificate: dir.join("tls.crt"), key: dir.join("tls.key") }
    }

    async fn server(files: &Files) -> Result<(u16, oneshot::Sender<()>), HttpError> {
        let server = Server::bind("127.0.0.1:0", shown()).await?;
        let server = server.with_tls(Some(files.clone()))?;
        let port = server.address().unwrap().port();
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(server.serve(async { drop(stopped.await) }));
        Ok((port, stop))
    }

    async fn ask(port: u16, host: &str, trust: &Trust) -> Result<bool, AskError> {
        let places = resolve(&format!("https://localhost:{port}"), Some(trust)).await?;
        let place = places.into_iter().find(|place| place.address.is_ipv4()).unwrap();
        let place = Place { host: host.to_owned(), ..place };
        get(&place, "/livez").await.map(|body| body.starts_with(b"alive"))
    }

    #[tokio::test]
    async fn only_who_is_trusted_by_name_is_spoken_to() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (own, others) = (files(dir.path()), files(other.path()));
        write(&own, "localhost", Duration::ZERO);
        write(&others, "localhost", Duration::ZERO);
        let (port, _stop) = server(&own).await.unwrap();
        let authority = |files: &Files| Trust::Authority(files.certificate.clone());
        assert!(ask(port, "localhost", &authority(&own)).await.unwrap());
        assert!(ask(port, "elsewhere", &authority(&own)).await.is_err(), "another name");
        assert!(ask(port, "localhost", &authority(&others)).await.is_err(), "another authority");
        let pinned = |files: &Files| Trust::Pinned(files.certificate.clone());
        assert!(ask(port, "elsewhere", &pinned(&own)).await.unwrap(), "whatever its name");
        assert!(ask(port, "localhost", &pinned(&others)).await.is_err());
        let plain = resolve(&format!("127.0.0.1:{port}"), None).await.unwrap();
        assert!(get(plain.first().unwrap(), "/livez").await.is_err(), "TLS alone");
        let nobody = resolve(&format!("https://localhost:{port}"), None).await;
        assert!(nobody.is_err_and(|error| error.to_string().contains("--ca")));
    }

    #[tokio::test]
    async fn a_new_certificate_counts_at_the_next_connection_and_a_broken_one_never() {
        let dir = tempfile::tempdir().unwrap();
        let own = files(dir.path());
        write(&own, "first", Duration::ZERO);
        let (port, _stop) = server(&own).await.unwrap();
        let trust = Trust::Authority(own.certificate.clone());
        assert!(ask(port, "first", &trust).await.unwrap());
        write(&own, "second", Duration::from_secs(5));
        assert!(ask(port, "second", &trust).await.unwrap());
        let kept = dir.path().join("kept.crt");
        fs::copy(&own.certificate, &kept).unwrap();
        fs::write(&own.certificate, "no certificate").unwrap();
        assert!(ask(port, "second", &Trust::Authority(kept)).await.unwrap());
    }

    #[tokio::test]
    async fn files_that_do_not_belong_together_are_named_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let own = files(dir.path());
        let failed = async || server(&own).await.err().unwrap().to_string();
        assert!(failed().await.contains("tls.crt"));
        write(&own, "a", Duration::ZERO);
        let key = generate_simple_self_signed(["b".to_owned()]).unwrap().signing_key;
        fs::write(&own.key, key.serialize_pem()).unwrap();
        assert!(failed().await.contains("tls.key"));
    }
}
