//! What can go wrong with a store, sorted by what the caller does about it ([`StateError::remedy`]).
//!
//! Invariant: an error names the directory and what is wrong with it, never a row.

use std::path::{Path, PathBuf};

use crate::delta::DeltaError;
use crate::identity::IdentityField;

/// Why a store cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The disk or the file system failed, or a right is missing.
    #[error(
        "the state in {} cannot be read or written: {what}; look at its disk, and at the rights of lethe's user",
        .dir.display()
    )]
    Io {
        /// The store's directory.
        dir: PathBuf,
        /// What RocksDB or the system says.
        what: String,
    },
    /// The disk takes nothing more: it is full, or a quota or a limit on the size of files is reached.
    #[error(
        "there is no room for the state in {} ({what}): make room and start lethe again; what is committed \
         and not yet on this disk is read from the changelog",
        .dir.display()
    )]
    Full {
        /// The store's directory.
        dir: PathBuf,
        /// What RocksDB or the system says.
        what: String,
    },
    /// The file system takes no writes, or its errors have made it so.
    #[error(
        "the state in {} is on a file system that cannot be written to ({what}): look at its disk, mount \
         it to be written to, and start lethe again; what is committed and not yet on this disk is read \
         from the changelog",
        .dir.display()
    )]
    ReadOnly {
        /// The store's directory.
        dir: PathBuf,
        /// What RocksDB or the system says.
        what: String,
    },
    /// Another process, or another store of this one, has the directory open.
    #[error(
        "the state in {} is in use by another process: stop it, or choose another data directory",
        .dir.display()
    )]
    Locked {
        /// The store's directory.
        dir: PathBuf,
    },
    /// The files are damaged.
    #[error("the state in {} is damaged ({what}): it has to be restored", .dir.display())]
    Corrupt {
        /// The store's directory.
        dir: PathBuf,
        /// What is damaged.
        what: String,
    },
    /// The changelog does not go on from where the store is.
    #[error(
        "the changelog goes on with delta {found}, but the state in {} ends at delta {applied}: \
         it has to be restored",
        .dir.display()
    )]
    Gap {
        /// The store's directory.
        dir: PathBuf,
        /// The sequence of the last delta that is applied.
        applied: u64,
        /// The sequence of the delta that was read.
        found: u64,
    },
    /// The changelog begins behind its first delta, and holds no whole snapshot.
    #[error(
        "the changelog begins with delta {found} and holds no complete snapshot, so that the state in {} \
         cannot be restored: records were removed from it; restore the topic's records",
        .dir.display()
    )]
    NoSnapshot {
        /// The store's directory.
        dir: PathBuf,
        /// The sequence of the first delta that was read.
        found: u64,
    },
    /// The store had begun to take in a snapshot.
    #[error(
        "the state in {} is of an interrupted restore: it has to be restored again",
        .dir.display()
    )]
    Interrupted {
        /// The store's directory.
        dir: PathBuf,
    },
    /// A part of a delta came without the parts before it.
    #[error(
        "part {found} of delta {sequence} came where part {expected} was due, restoring {}",
        .dir.display()
    )]
    PartMissing {
        /// The store's directory.
        dir: PathBuf,
        /// The delta's sequence.
        sequence: u64,
        /// The part that was due.
        expected: u32,
        /// The part that came.
        found: u32,
    },
    /// The state belongs to something else: another cluster, topic or partition.
    #[error(
        "the state in {} belongs to {field} {found}, not to {expected}: \
         choose another data directory, or remove this one",
        .dir.display()
    )]
    OtherIdentity {
        /// The store's directory.
        dir: PathBuf,
        /// What differs.
        field: IdentityField,
        /// What the directory says.
        found: String,
        /// What the caller says.
        expected: String,
    },
    /// The state was written in a format that this version of lethe does not read.
    #[error(
        "the state in {} has format version {found}, this version of lethe reads {supported}: \
         use the version that wrote it, or choose another data directory",
        .dir.display()
    )]
    OtherFormat {
        /// The store's directory.
        dir: PathBuf,
        /// What the directory says.
        found: u32,
        /// What this version reads and writes.
        supported: u32,
    },
    /// The directory is a database, but not lethe's.
    #[error("{} holds the data of another program: choose another data directory", .dir.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
    },
    /// A record of the changelog does not decode.
    #[error("a changelog record does not decode, restoring {}: {source}", .dir.display())]
    Delta {
        /// The store's directory.
        dir: PathBuf,
        /// What is wrong with it.
        source: DeltaError,
    },
    /// A row was read whole, but the engine cannot decode it: a fault of lethe's.
    #[error(transparent)]
    Row(#[from] lethe_engine::Corrupt),
}

/// What a caller does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Open the store anew after a while, and restore what is missing.
    Retry,
    /// [`Store::destroy`](crate::Store::destroy) the directory and restore it from the changelog. If an empty
    /// store meets the error again, stop.
    Rebuild,
    /// Stop, and tell the operator: trying again changes nothing.
    Stop,
}

impl StateError {
    /// What the caller does about it.
    #[must_use]
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::Io { .. } => Remedy::Retry,
            Self::Corrupt { .. }
            | Self::Gap { .. }
            | Self::PartMissing { .. }
            | Self::Interrupted { .. } => Remedy::Rebuild,
            Self::Full { .. }
            | Self::ReadOnly { .. }
            | Self::Locked { .. }
            | Self::OtherIdentity { .. }
            | Self::OtherFormat { .. }
            | Self::Foreign { .. }
            | Self::Delta { .. }
            | Self::NoSnapshot { .. }
            | Self::Row(_) => Remedy::Stop,
        }
    }

    /// The store's directory, where the error is about one.
    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        match self {
            Self::Io { dir, .. }
            | Self::Full { dir, .. }
            | Self::ReadOnly { dir, .. }
            | Self::Locked { dir }
            | Self::Corrupt { dir, .. }
            | Self::Gap { dir, .. }
            | Self::NoSnapshot { dir, .. }
            | Self::Interrupted { dir }
            | Self::PartMissing { dir, .. }
            | Self::OtherIdentity { dir, .. }
            | Self::OtherFormat { dir, .. }
            | Self::Foreign { dir }
            | Self::Delta { dir, .. } => Some(dir),
            Self::Row(_) => None,
        }
    }

    /// Sorts an error of RocksDB's.
    pub(crate) fn from_rocksdb(dir: &Path, error: rocksdb::Error) -> Self {
        let dir = dir.to_owned();
        if is_lock(error.as_ref()) {
            return Self::Locked { dir };
        }
        if error.kind() == rocksdb::ErrorKind::Corruption {
            return Self::Corrupt { dir, what: error.into_string() };
        }
        Self::of_system(dir, error.into_string())
    }

    /// Sorts an error of RocksDB's at the opening of a directory: a file that a database which is there looks
    /// for in vain was lost.
    pub(crate) fn at_open(dir: &Path, error: rocksdb::Error) -> Self {
        let what = error.to_string();
        let sorted = Self::from_rocksdb(dir, error);
        let is_there = dir.join(POINTER).exists();
        let lost = is_there && matches!(&sorted, Self::Io { .. }) && what.contains(NO_FILE);
        if lost { Self::Corrupt { dir: dir.to_owned(), what } } else { sorted }
    }

    /// Sorts an error of the system's.
    pub(crate) fn from_io(dir: &Path, error: &std::io::Error) -> Self {
        Self::of_system(dir.to_owned(), error.to_string())
    }

    /// RocksDB keeps the system's words, but not its number.
    fn of_system(dir: PathBuf, what: String) -> Self {
        let says = |words: &[&str]| words.iter().any(|words| what.contains(words));
        if says(&NO_ROOM) {
            Self::Full { dir, what }
        } else if says(&NO_WRITES) {
            Self::ReadOnly { dir, what }
        } else {
            Self::Io { dir, what }
        }
    }
}

/// The C library's words for `ENOSPC`, `EDQUOT` and `EFBIG`.
const NO_ROOM: [&str; 3] = ["No space left on device", "Disk quota exceeded", "File too large"];
/// The file of RocksDB's that says where a database begins.
const POINTER: &str = "CURRENT";
/// Its words for `ENOENT`.
const NO_FILE: &str = "No such file or directory";
/// Its words for `EROFS`.
const NO_WRITES: [&str; 1] = ["Read-only file system"];

/// RocksDB has no kind of its own for a lock that is held: these are its words for one held by this process
/// and by another (`PosixFileSystem::LockFile` in `env/fs_posix.cc`).
fn is_lock(message: &str) -> bool {
    message.starts_with("IO error: lock hold by current process")
        || message.starts_with("IO error: While lock file")
}
