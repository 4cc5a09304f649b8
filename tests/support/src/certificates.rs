//! Certificates for a broker and a client, made by the JDK's `keytool` and trusted by nobody else.

use std::path::{Path, PathBuf};

use crate::process;

/// Protects the key stores: a test's secret, to be found in no log.
pub const STORE_PASSWORD: &str = "planted-store-password-5d0a";
/// What the client's certificate is about.
pub const CLIENT: &str = "CN=lethe";

/// The files of both sides.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The broker's certificate, which is its own authority (PEM).
    pub authority: PathBuf,
    /// The broker's key (PKCS #12).
    pub(crate) broker: PathBuf,
    /// The client's key and certificate (PKCS #12).
    pub client: PathBuf,
    /// Whom the broker trusts (PKCS #12).
    pub(crate) trusted: PathBuf,
}

impl Certificates {
    /// Makes them in a directory.
    pub(crate) fn new(dir: &Path) -> Self {
        let at = |name: &str| dir.join(name);
        let made = Self {
            authority: at("authority.pem"),
            broker: at("broker.p12"),
            client: at("client.p12"),
            trusted: at("trusted.p12"),
        };
        let client_pem = at("client.pem");
        pair(&made.broker, "CN=localhost", &["-ext", "san=ip:127.0.0.1"]);
        pair(&made.client, CLIENT, &[]);
        export(&made.broker, &made.authority);
        export(&made.client, &client_pem);
        keytool("-importcert", &made.trusted, &["-noprompt", "-file", &text(&client_pem)]);
        made
    }
}

fn pair(store: &Path, subject: &str, more: &[&str]) {
    let made = ["-keyalg", "EC", "-dname", subject, "-validity", "2"];
    keytool("-genkeypair", store, &[&made, more].concat());
}

fn export(store: &Path, to: &Path) {
    keytool("-exportcert", store, &["-rfc", "-file", &text(to)]);
}

fn keytool(what: &str, store: &Path, more: &[&str]) {
    let mut command = process::command("keytool");
    command.args([what, "-alias", "one", "-storetype", "PKCS12", "-storepass", STORE_PASSWORD]);
    command.arg("-keystore").arg(store).args(more);
    let output = command.output().expect("keytool starts: it comes with Java");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "keytool {what}: {said}");
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
