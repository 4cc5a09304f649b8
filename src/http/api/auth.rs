//! Who may do what.
//!
//! Without a file of tokens, whoever reaches a loopback address may do everything, and nobody may do
//! anything through another address. With one, every request needs a token.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::problem::Problem;
use crate::audit::{Author, Via};
use crate::control::key::Kind;

/// Who asks where no token is needed.
const LOOPBACK: &str = "loopback";

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// Look.
    Reader,
    /// Look at and change the choices of its own tenants.
    Tenant,
    /// Look, and change choices and terms.
    Operator,
    /// Look, and change holds and erasures.
    Compliance,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Wish {
    /// To see records of a kind.
    Read(Kind),
    /// To change one.
    Change(Kind),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Token>,
}

/// A token that is known, by its hash.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    /// Whose it is: what the audit says.
    name: String,
    /// SHA-256 of the token, in hex.
    sha256: String,
    role: Role,
    /// The tenants that it is bound to; none: every tenant.
    tenants: Option<Vec<String>>,
}

/// Where requests come in.
pub(in crate::http) struct Doors {
    loopback: bool,
    file: Option<PathBuf>,
    /// As of the file's last change.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    changed: Option<SystemTime>,
    tokens: Arc<Vec<Token>>,
}

impl Doors {
    pub(in crate::http) fn new(listens: SocketAddr, file: Option<PathBuf>) -> Self {
        Self { loopback: listens.ip().is_loopback(), file, known: Mutex::default() }
    }

    /// Lets a request in and says whose it is, or says why not. `tenant` is whose records it is about; none: of
    /// all, or of none.
    pub(in crate::http) fn admit(
        &self,
        headers: &HeaderMap,
        wish: Wish,
        tenant: Option<&str>,
    ) -> Result<Author, Problem> {
        let author = |by: &str| Author { by: by.to_owned(), via: Via::Http };
        let Some(file) = &self.file else {
            return if self.loopback { Ok(author(LOOPBACK)) } else { Err(closed()) };
        };
        let tokens = self.tokens(file)?;
        let token = given(&tokens, headers).ok_or_else(unknown)?;
        if token.may(wish) && token.reaches(tenant) {
            return Ok(author(&token.name));
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!("the token {} may not do that", token.name),
        ))
    }

    /// The name of the token that comes with a request, if it is known.
    pub(super) fn name(&self, headers: &HeaderMap) -> Option<String> {
        let tokens = self.tokens(self.file.as_ref()?).ok()?;
        given(&tokens, headers).map(|token| token.name.clone())
    }

    /// The tokens as the file says now: it is read again whenever it has changed.
    fn tokens(&self, file: &Path) -> Result<Arc<Vec<Token>>, Problem> {
        let changed = fs::metadata(file).and_then(|about| about.modified()).ok();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if changed.is_none() || known.changed != changed {
            let failed = |why: String| {
                tracing::error!(file = %file.display(), why, "the file of tokens cannot be read");
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the file of tokens cannot be read")
            };
            let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
            let read: File = toml(&text).map_err(failed)?;
            *known = Known { changed, tokens: Arc::new(read.token) };
        }
        Ok(Arc::clone(&known.tokens))
    }
}

impl Token {
    fn may(&self, wish: Wish) -> bool {
        match (wish, self.role) {
            (Wish::Read(_), Role::Reader | Role::Operator | Role::Compliance) => true,
            (Wish::Read(kind) | Wish::Change(kind), Role::Tenant) => {
                matches!(kind, Kind::Tenant | Kind::Conversation)
            }
            (Wish::Change(kind), Role::Operator) => {
                matches!(kind, Kind::Tenant | Kind::Conversation | Kind::Terms | Kind::Replay)
            }
            (Wish::Change(kind), Role::Compliance) => matches!(kind, Kind::Hold | Kind::Erasure),
            (Wish::Change(_), Role::Reader) => false,
        }
    }

    /// A token of the role `tenant` reaches the tenants that it names alone; another, every tenant
    /// unless it names some.
    fn reaches(&self, tenant: Option<&str>) -> bool {
        let names = |tenants: &Vec<String>| {
            tenant.is_some_and(|tenant| tenants.iter().any(|known| known == tenant))
        };
        self.tenants.as_ref().map_or(self.role != Role::Tenant, names)
    }
}

/// The token that comes with a request, if it is one of these.
fn given<'t>(tokens: &'t [Token], headers: &HeaderMap) -> Option<&'t Token> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer "))?;
    let hash = hex(&Sha256::digest(given.trim().as_bytes()));
    // Hashes are compared: how long that takes tells nothing of a token.
    tokens.iter().find(|token| token.sha256.eq_ignore_ascii_case(&hash))
}

fn toml(text: &str) -> Result<File, String> {
    use figment::providers::{Format as _, Toml};
    // An error of the parser may quote a line of the file: only what it is about is said.
    figment::Figment::from(Toml::string(text))
        .extract()
        .map_err(|error: figment::Error| format!("a wrong entry at {}", error.path.join(".")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unknown() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "a known token is needed: Authorization: Bearer TOKEN")
}

fn closed() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "this address is not loopback, so tokens are needed: set http_tokens to a file of them",
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use super::*;

    fn bearer(token: &str) -> HeaderMap {
        let value = format!("Bearer {token}").parse().unwrap();
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    fn status(result: Result<Author, Problem>) -> u16 {
        use axum::response::IntoResponse as _;
        result.map_or_else(|problem| problem.into_response().status().as_u16(), |_| 200)
    }

    fn doors(tokens: &[(&str, &str, Option<&str>)]) -> (tempfile::TempDir, Doors) {
        let dir = tempfile::tempdir().unwrap();
        let entry = |(secret, role, tenants): &(&str, &str, Option<&str>)| {
            let hash = hex(&Sha256::digest(secret.as_bytes()));
            let tenants = tenants.map(|tenants| format!("tenants = [\"{tenants}\"]\n"));
            format!(
                "[[token]]\nname = \"{role}\"\nsha256 = \"{hash}\"\nrole = \"{role}\"\n{}",
                tenants.unwrap_or_default()
            )
        };
        let file = dir.path().join("tokens.toml");
        fs::write(&file, tokens.iter().map(entry).collect::<String>()).unwrap();
        (dir, Doors::new("0.0.0.0:9644".parse().unwrap(), Some(file)))
    }

    #[test]
    fn loopback_is_open_and_everything_else_is_closed_without_tokens() {
        let wish = Wish::Change(Kind::Hold);
        let local = Doors::new("127.0.0.1:9644".parse().unwrap(), None);
        assert_eq!(status(local.admit(&HeaderMap::new(), wish, None)), 200);
        let open = Doors::new("0.0.0.0:9644".parse().unwrap(), None);
        assert_eq!(status(open.admit(&HeaderMap::new(), wish, None)), 403);
    }

    #[test]
    fn roles() {
        let all = [("r", "reader", None), ("o", "operator", None), ("c", "compliance", None)];
        let (_dir, doors) = doors(&all);
        let may = |token: &str, wish| status(doors.admit(&bearer(token), wish, Some("acme")));
        for token in ["r", "o", "c"] {
            assert_eq!(may(token, Wish::Read(Kind::Hold)), 200, "{token}");
        }
        assert_eq!(may("r", Wish::Change(Kind::Tenant)), 403);
        assert_eq!(may("o", Wish::Change(Kind::Terms)), 200);
        assert_eq!(may("o", Wish::Change(Kind::Hold)), 403);
        assert_eq!(may("c", Wish::Change(Kind::Erasure)), 200);
        assert_eq!(may("c", Wish::Change(Kind::Tenant)), 403);
        assert_eq!(may("x", Wish::Read(Kind::Tenant)), 401);
        assert_eq!(status(doors.admit(&HeaderMap::new(), Wish::Read(Kind::Hold), None)), 401);
    }

    #[test]
    fn a_tenant_reaches_its_own_choices_alone() {
        let (_dir, doors) = doors(&[("t", "tenant", Some("acme")), ("u", "tenant", None)]);
        let may = |token: &str, wish, tenant| status(doors.admit(&bearer(token), wish, tenant));
        assert_eq!(may("t", Wish::Change(Kind::Tenant), Some("acme")), 200);
        assert_eq!(may("t", Wish::Change(Kind::Terms), Some("acme")), 403);
        assert_eq!(may("t", Wish::Read(Kind::Tenant), Some("other")), 403);
        assert_eq!(may("t", Wish::Read(Kind::Tenant), None), 403, "not the list of all");
        assert_eq!(may("u", Wish::Read(Kind::Tenant), Some("acme")), 403, "bound to nobody");
    }

    #[test]
    fn a_changed_file_counts_at_once_and_a_broken_one_closes_the_door() {
        let (dir, doors) = doors(&[("old", "reader", None)]);
        let wish = Wish::Read(Kind::Hold);
        assert_eq!(status(doors.admit(&bearer("old"), wish, None)), 200);
        let file = dir.path().join("tokens.toml");
        fs::write(&file, "[[token]]\nname = 1\n").unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        fs::File::options().append(true).open(&file).unwrap().set_modified(later).unwrap();
        assert_eq!(status(doors.admit(&bearer("old"), wish, None)), 503);
    }
}
