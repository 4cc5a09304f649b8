//! Takes a snapshot into an empty store: its parts go into sorted files beside the store, and all files into
//! the database at once when the end has come.

use rocksdb::{IngestExternalFileOptions, Options, SstFileWriter};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{Ahead, Room};
use crate::delta::rows::RowReader;
use crate::error::StateError;
use crate::filter::Forgetting;
use crate::options;

/// A file of more is closed, and another begun: what RocksDB makes of a level by itself.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A snapshot of which some parts are there.
pub(crate) struct Ingest {
    pub(crate) sequence: u64,
    /// The offset of its first record.
    pub(crate) start: i64,
    pub(crate) parts: u32,
    /// The deltas among its parts.
    pub(crate) ahead: Ahead,
    store: PathBuf,
    files: Vec<PathBuf>,
    open: Option<SstFileWriter<'static>>,
    /// Rows of books, whose lines hold once the snapshot is in.
    books: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Ingest {
    /// Begins with the snapshot of a sequence whose first record lies at an offset.
    pub(crate) fn begin(
        store: &Path,
        sequence: u64,
        start: i64,
        room: &Room,
    ) -> Result<Self, StateError> {
        clean(store)?;
        fs::create_dir_all(directory(store)).map_err(|error| StateError::from_io(store, &error))?;
        let store = store.to_owned();
        let ahead = Ahead::new(room);
        Ok(Self {
            sequence,
            start,
            parts: 0,
            ahead,
            store,
            files: vec![],
            open: None,
            books: vec![],
        })
    }

    /// Takes in the next part.
    pub(crate) fn add(
        &mut self,
        mut rows: RowReader<'_>,
        forgetting: &Forgetting,
    ) -> Result<(), StateError> {
        let dir = self.store.clone();
        let failed = |error| StateError::from_rocksdb(&dir, error);
        let refused = |source| StateError::Delta { dir: dir.clone(), source };
        let mut open = self.open.take();
        while let Some((key, value)) = rows.next_row().map_err(refused)? {
            let writer = match &mut open {
                Some(writer) => writer,
                // Not before there is a row: a file without any cannot be closed.
                None => open.insert(self.file().map_err(failed)?),
            };
            // A row out of order is refused by the file itself.
            let value = value.unwrap_or_default();
            writer.put(key, value).map_err(failed)?;
            if forgetting.is_books(key) {
                self.books.push((key.to_owned(), value.to_owned()));
            }
        }
        self.parts += 1;
        match open {
            Some(mut full) if full.file_size() >= FILE_BYTES_MAX => {
                full.finish().map_err(failed)?
            }
            open => self.open = open,
        }
        Ok(())
    }

    /// Closes the last file. Gives the files, the books in them, and the deltas among the parts.
    pub(crate) fn finish(mut self) -> Result<(Vec<PathBuf>, Books, Ahead), StateError> {
        if let Some(mut writer) = self.open.take() {
            let closed = writer.finish();
            closed.map_err(|error| StateError::from_rocksdb(&self.store, error))?;
        }
        Ok((self.files, self.books, self.ahead))
    }

    fn file(&mut self) -> Result<SstFileWriter<'static>, rocksdb::Error> {
        static OPTIONS: OnceLock<Options> = OnceLock::new();
        let path = directory(&self.store).join(format!("{:06}.sst", self.files.len() + 1));
        let writer = SstFileWriter::create(OPTIONS.get_or_init(options::file));
        writer.open(&path)?;
        self.files.push(path);
        Ok(writer)
    }
}

/// Rows of books: key and value.
pub(crate) type Books = Vec<(Vec<u8>, Vec<u8>)>;

/// How files are taken in: they are moved, not copied.
pub(crate) fn ingest_options() -> IngestExternalFileOptions {
    let mut options = IngestExternalFileOptions::default();
    options.set_move_files(true);
    options
}

/// Removes what a restore has left beside a store.
pub(crate) fn clean(store: &Path) -> Result<(), StateError> {
    match fs::remove_dir_all(directory(store)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StateError::from_io(store, &error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Where the files are made: beside the store, on the same file system.
fn directory(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".restoring");
    PathBuf::from(name)
}
