//! The data directory: whose it is, and where each partition's state lies in it.
//!
//! Invariant: one process at a time works in a data directory.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use fs4::FileExt;

use super::error::PipelineError;

/// The file that a running process holds locked.
const LOCK: &str = "lethe.lock";
/// The file that remembers the instance's name.
const INSTANCE: &str = "instance";
/// What to do about a directory that takes nothing.
const ADVICE: &str = "lethe needs one that its user can write to, with room: mend that, or give another \
                      --data-dir";
/// Kafka takes no longer ids (249), with the group's name and the worker's number beside it.
const INSTANCE_BYTES_MAX: usize = 128;

/// A data directory that this process has for itself, for as long as this value lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    instance: String,
    _lock: File,
}

impl DataDirectory {
    /// Creates the directory where it is missing, and takes it.
    ///
    /// The instance's name is the given one, else the remembered one, else the host's; a given
    /// name that differs from the remembered one is refused, because the static memberships and
    /// open transactions of the old name would stay behind.
    pub fn take(path: &Path, instance: Option<&str>) -> Result<Self, PipelineError> {
        let wrong = |why: String| PipelineError::Directory { path: path.to_owned(), why };
        let unwritable =
            |what: &str, error: &std::io::Error| wrong(format!("{what}: {error}; {ADVICE}"));
        fs::create_dir_all(path).map_err(|error| unwritable("cannot be created", &error))?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK))
            .map_err(|error| unwritable("cannot be written to", &error))?;
        FileExt::try_lock(&lock).map_err(|_| {
            wrong("another lethe process works in it; give each one a --data-dir of its own".into())
        })?;
        let remembered = match fs::read(path.join(INSTANCE)) {
            Ok(bytes) => Some(remembered(&bytes).map_err(wrong)?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(wrong(format!("cannot be read: {error}"))),
        };
        let instance = match (instance, remembered) {
            (Some(given), Some(remembered)) if given != remembered => {
                return Err(wrong(format!(
                    "it belongs to the instance {remembered:?}, not {given:?}; use its name or \
                     another directory"
                )));
            }
            (_, Some(remembered)) => remembered,
            (given, None) => {
                let host = || gethostname::gethostname().to_string_lossy().into_owned();
                let name = given.map_or_else(host, str::to_owned);
                valid(&name).map_err(wrong)?;
                replace(&path.join(INSTANCE), &name)
                    .map_err(|error| unwritable("cannot be written to", &error))?;
                name
            }
        };
        Ok(Self { path: path.to_owned(), instance, _lock: lock })
    }

    /// The instance's name.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes a small file whole or not at all: a full disk must not leave half a name behind.
pub(super) fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(new, path)
}

/// Reads the file with the instance's name.
fn remembered(bytes: &[u8]) -> Result<String, String> {
    let name = std::str::from_utf8(bytes).map(str::trim).unwrap_or_default();
    valid(name).map(|()| name.to_owned()).map_err(|_| {
        format!(
            "its file {INSTANCE:?} is damaged: it holds no instance's name. Write the name into it that \
             this process had (the group's members show it); a new name leaves the old one's open \
             transactions and place in the group to their time-outs"
        )
    })
}

fn valid(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if name.is_empty() || name.len() > INSTANCE_BYTES_MAX || !name.bytes().all(plain) {
        return Err(format!(
            "{name:?} cannot be an instance's name: letters, digits, '.', '-' and '_', at most \
             {INSTANCE_BYTES_MAX} of them; give another one with --instance"
        ));
    }
    Ok(())
}

/// Where the state of a partition lies.
#[must_use]
pub fn partition_path(data_dir: &Path, topic: &str, partition: i32) -> PathBuf {
    data_dir.join(format!("{topic}-{partition}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn a_name_is_remembered_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDirectory::take(dir.path(), Some("a")).unwrap());
        assert_eq!(DataDirectory::take(dir.path(), None).unwrap().instance(), "a");
        let error = DataDirectory::take(dir.path(), Some("b")).unwrap_err().to_string();
        assert!(error.contains("belongs to the instance \"a\""), "{error}");
    }

    #[test]
    fn a_directory_in_use_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDirectory::take(dir.path(), Some("a")).unwrap();
        let error = DataDirectory::take(dir.path(), Some("a")).unwrap_err().to_string();
        assert!(error.contains("another lethe process"), "{error}");
        drop(held);
        assert!(DataDirectory::take(dir.path(), Some("a")).is_ok());
    }

    #[test]
    fn a_damaged_name_is_refused_and_not_taken_for_another() {
        for damaged in [b"".as_slice(), b"\xff\xfe", b"a/b", b"\0\0\0"] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(INSTANCE), damaged).unwrap();
            for given in [None, Some("a")] {
                let error = DataDirectory::take(dir.path(), given).unwrap_err().to_string();
                assert!(error.contains("\"instance\" is damaged"), "{error}");
            }
            assert_eq!(fs::read(dir.path().join(INSTANCE)).unwrap(), damaged);
        }
    }

    /// Not even root can write there.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_place_that_takes_nothing_is_named_with_what_to_do() {
        for path in ["/proc/lethe", "/proc/self/fd"] {
            let error = DataDirectory::take(Path::new(path), Some("a")).unwrap_err().to_string();
            assert!(error.contains(path) && error.contains("--data-dir"), "{error}");
        }
    }

    #[test]
    fn a_name_that_kafka_would_refuse_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(DataDirectory::take(dir.path(), Some("a/b")).is_err());
    }
}
