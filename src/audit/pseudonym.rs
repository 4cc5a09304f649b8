//! Users' ids as keyed hashes: the same user has the same hash under the same key, and without the key nobody
//! finds the user by trying.

use std::fs;
use std::path::Path;

use hmac::{Hmac, Mac as _};
use serde_json::Value;
use sha2::Sha256;

/// The shortest key: what is shorter could be found by trying.
const KEY_BYTES_MIN: usize = 16;
/// So much of a hash is shown: enough that no two users meet in one.
const SHOWN_BYTES: usize = 16;
/// Fields of control records that name a user, or may be made of users' ids.
const NAMING: [&str; 3] = ["user", "conversation", "message"];
/// A field in which people write what they like.
const FREE: &str = "reason";
/// What stands for an id where there is no key.
const HIDDEN: &str = "hidden";

/// Makes users' ids into hashes.
#[derive(Clone, Default)]
pub struct Pseudonyms {
    key: Option<Vec<u8>>,
}

impl Pseudonyms {
    /// With the key that is a file's content; without a file, ids are left out.
    ///
    /// # Errors
    /// The file cannot be read, or is too short for a key.
    pub fn read(file: Option<&Path>) -> Result<Self, String> {
        let Some(path) = file else { return Ok(Self::default()) };
        let shown = path.display();
        let key = fs::read(path).map_err(|error| format!("audit_key: {shown}: {error}"))?;
        if key.len() < KEY_BYTES_MIN {
            return Err(format!("audit_key: {shown} must have at least {KEY_BYTES_MIN} bytes"));
        }
        Ok(Self { key: Some(key) })
    }

    /// An id's pseudonym.
    #[must_use]
    pub fn of(&self, id: &str) -> String {
        let mac = self.key.as_ref().and_then(|key| Hmac::<Sha256>::new_from_slice(key).ok());
        let Some(mut mac) = mac else { return HIDDEN.to_owned() };
        mac.update(id.as_bytes());
        let hash = mac.finalize().into_bytes();
        hash.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }

    /// A control record's value as the audit shows it.
    #[must_use]
    pub fn shown(&self, mut value: Value) -> Value {
        if let Value::Object(fields) = &mut value {
            fields.remove(FREE);
            for name in NAMING {
                // A tenant's choice has a field of this name that is no id.
                if let Some(Value::String(id)) = fields.get_mut(name) {
                    *id = self.of(id);
                }
            }
        }
        value
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_user_is_known_by_a_hash_under_the_key_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        fs::write(&file, b"0123456789abcdef").unwrap();
        let pseudonyms = Pseudonyms::read(Some(&file)).unwrap();
        // printf %s ada | openssl dgst -sha256 -hmac 0123456789abcdef
        assert_eq!(pseudonyms.of("ada"), "83eeb38e004a295359bde4b0760bb271");
        let value = json!({"tenant": "a", "user": "ada", "reason": "Ada asked", "standing": true});
        let expected =
            json!({"tenant": "a", "user": "83eeb38e004a295359bde4b0760bb271", "standing": true});
        assert_eq!(pseudonyms.shown(value.clone()), expected);
        let hidden = json!({"tenant": "a", "user": "hidden", "standing": true});
        assert_eq!(Pseudonyms::default().shown(value), hidden);
        let choice = json!({"message": {"storage": "in"}});
        assert_eq!(pseudonyms.shown(choice.clone()), choice);
        fs::write(&file, b"short").unwrap();
        assert!(Pseudonyms::read(Some(&file)).is_err_and(|why| why.contains("16 bytes")));
    }
}
