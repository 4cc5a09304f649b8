//! A broker that asks its clients to log in and looks at what they may do: KRaft's authorizer; SASL without and
//! with TLS, mutual TLS.
//!
//! Its plain address is for the test itself, which may do everything. lethe logs in as [`USER`], which may do
//! everything too until a right is taken away.

use std::collections::BTreeMap;
use std::path::Path;

use crate::broker::{Broker, Version, free_port};
use crate::certificates::{CLIENT, Certificates, STORE_PASSWORD};
use crate::process::Process;

/// The user that lethe logs in as.
pub const USER: &str = "lethe";
/// Its password: to be found in no log.
pub const PASSWORD: &str = "planted-password-81c2";

/// A resource of Kafka's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A topic.
    Topic(String),
    /// A consumer group.
    Group(String),
    /// Transactional ids that begin like this.
    TransactionalIds(String),
    /// The cluster.
    Cluster,
}

impl Resource {
    fn arguments(&self) -> Vec<&str> {
        match self {
            Self::Topic(name) => vec!["--topic", name],
            Self::Group(name) => vec!["--group", name],
            Self::TransactionalIds(prefix) => {
                vec!["--transactional-id", prefix, "--resource-pattern-type", "prefixed"]
            }
            Self::Cluster => vec!["--cluster"],
        }
    }
}

/// What a rule does to a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Deny,
    DenyNoMore,
}

/// The listeners beside the plain one.
#[derive(Clone, Debug)]
pub(crate) struct Doors {
    /// SASL/PLAIN without TLS.
    login: u16,
    /// SASL/PLAIN and SCRAM, with TLS.
    secure: u16,
    /// TLS, with a certificate of the client's.
    mutual: u16,
    certificates: Certificates,
}

impl Doors {
    pub(crate) fn new(dir: &Path) -> Self {
        let certificates = Certificates::new(dir);
        Self { login: free_port(), secure: free_port(), mutual: free_port(), certificates }
    }

    /// The further listeners, and the settings that make the broker ask.
    pub(crate) fn configuration(&self) -> (String, String) {
        let login = "org.apache.kafka.common.security.plain.PlainLoginModule required";
        let login = format!("{login} user_{USER}=\"{PASSWORD}\";");
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        let Certificates { broker, trusted, .. } = &self.certificates;
        let (broker, trusted) = (broker.display(), trusted.display());
        let rules = format!(
            "sasl.enabled.mechanisms=PLAIN\n\
             listener.name.guarded.plain.sasl.jaas.config={login}\n\
             listener.name.secure.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512\n\
             listener.name.secure.plain.sasl.jaas.config={login}\n\
             listener.name.secure.scram-sha-512.sasl.jaas.config={scram}\n\
             ssl.keystore.type=PKCS12\nssl.keystore.location={broker}\n\
             ssl.keystore.password={STORE_PASSWORD}\nssl.key.password={STORE_PASSWORD}\n\
             ssl.truststore.type=PKCS12\nssl.truststore.location={trusted}\n\
             ssl.truststore.password={STORE_PASSWORD}\n\
             listener.name.mutual.ssl.client.auth=required\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS;User:{CLIENT}\n"
        );
        let (login, secure, mutual) = (self.login, self.secure, self.mutual);
        let listeners = format!(
            ",GUARDED://127.0.0.1:{login},SECURE://127.0.0.1:{secure},MUTUAL://127.0.0.1:{mutual}"
        );
        (listeners, rules)
    }

    fn authority(&self) -> String {
        self.certificates.authority.display().to_string()
    }
}

/// What the storage tool is told of [`USER`].
pub(crate) fn scram() -> String {
    format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]")
}

impl Broker {
    /// A broker of 4.1.1 on which [`USER`] may do everything.
    ///
    /// # Panics
    /// Where it does not start, with what it said.
    #[must_use]
    pub fn guarded() -> Self {
        let broker = Self::started(Version::V4, 1, true);
        let user = format!("User:{USER}");
        let all = ["--topic", "*", "--group", "*", "--transactional-id", "*", "--cluster"];
        let grant = ["--add", "--allow-principal", &user, "--operation", "All"];
        broker.rule(&[&grant[..], &all[..]].concat()).end();
        broker
    }

    /// Where clients log in.
    ///
    /// # Panics
    /// Where the broker does not ask them to.
    #[must_use]
    pub fn guarded_address(&self) -> String {
        format!("127.0.0.1:{}", self.open_doors().login)
    }

    /// Where clients log in through TLS, and the properties that they need for that.
    ///
    /// # Panics
    /// Where the broker does not ask them to.
    #[must_use]
    pub fn secure(&self, mechanism: &str, password: &str) -> (String, BTreeMap<String, String>) {
        let doors = self.open_doors();
        let mut properties = login(password);
        properties.insert("security.protocol".to_owned(), "SASL_SSL".to_owned());
        properties.insert("sasl.mechanism".to_owned(), mechanism.to_owned());
        properties.insert("ssl.ca.location".to_owned(), doors.authority());
        (format!("127.0.0.1:{}", doors.secure), properties)
    }

    /// Where clients show a certificate, and the properties that they need for that.
    ///
    /// # Panics
    /// Where the broker does not ask them to.
    #[must_use]
    pub fn mutual(&self) -> (String, BTreeMap<String, String>) {
        let doors = self.open_doors();
        let properties = [
            ("security.protocol", "SSL".to_owned()),
            ("ssl.ca.location", doors.authority()),
            ("ssl.keystore.location", doors.certificates.client.display().to_string()),
            ("ssl.keystore.password", STORE_PASSWORD.to_owned()),
        ];
        let properties = properties.map(|(name, value)| (name.to_owned(), value));
        (format!("127.0.0.1:{}", doors.mutual), properties.into())
    }

    fn open_doors(&self) -> &Doors {
        self.doors().expect("a guarded broker")
    }

    /// Takes rights away, each an operation on a resource.
    ///
    /// # Panics
    /// Where the broker refuses.
    pub fn deny(&self, rights: &[(&str, Resource)]) {
        self.rules(Rule::Deny, rights);
    }

    /// Gives back what [`Broker::deny`] took.
    ///
    /// # Panics
    /// Where the broker refuses.
    pub fn grant(&self, rights: &[(&str, Resource)]) {
        self.rules(Rule::DenyNoMore, rights);
    }

    fn rules(&self, rule: Rule, rights: &[(&str, Resource)]) {
        let user = format!("User:{USER}");
        // Each is a virtual machine that starts for a second: not too many side by side.
        for some in rights.chunks(3) {
            let started = some.iter().map(|(operation, resource)| {
                let change: &[&str] = match rule {
                    Rule::Deny => &["--add"],
                    Rule::DenyNoMore => &["--remove", "--force"],
                };
                let denial = ["--deny-principal", &user, "--operation", operation];
                self.rule(&[change, &denial, &resource.arguments()].concat())
            });
            for running in started.collect::<Vec<_>>() {
                running.end();
            }
        }
    }

    fn rule(&self, arguments: &[&str]) -> Running<'_> {
        let mut command = self.java("org.apache.kafka.tools.AclCommand", "64m", "acls.log");
        command.args(["--bootstrap-server", &self.address()]).args(arguments);
        Running { broker: self, process: Process::start("Kafka's acls tool", command) }
    }
}

/// The tool at work.
struct Running<'b> {
    broker: &'b Broker,
    process: Process,
}

impl Running<'_> {
    fn end(mut self) {
        let status = self.process.wait();
        assert!(status.success(), "{}", self.broker.said("acls.log"));
    }
}

/// librdkafka's properties of a client that logs in with a password.
#[must_use]
pub fn login(password: &str) -> BTreeMap<String, String> {
    let properties = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", USER),
        ("sasl.password", password),
    ];
    properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}
