//! One partition's ledger: RocksDB with the overlay on top.

use lethe_engine::{Ledger, Rows};
use rocksdb::{
    DB, Options, ReadOptions, WaitForCompactOptions, WriteBatch, WriteOptions, properties,
};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::delta::{DeltaHeader, DeltaWriter};
use crate::error::StateError;
use crate::filter::{Forgetting, Rule};
use crate::identity::Identity;
use crate::memory::Memory;
use crate::overlay::Overlay;
use crate::reserved::{
    self, FORMAT_KEY, IDENTITY_KEY, POSITION_KEY, Position, RESTORING_KEY, is_reserved,
};
use crate::restore::Assembly;
use crate::snapshot::{self, Ingest, Room, SnapshotCursor, SnapshotSlice};
use crate::{options, scan};

/// How a store keeps up with what is written to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// About how many bytes compactions still have to rewrite.
    pub pending_bytes: u64,
    /// Writes are slowed down, or stand still.
    pub is_stalled: bool,
}

/// One partition's ledger, in a RocksDB directory of its own.
///
/// Reads see the changes of the batch at hand. Dropping a store writes what is committed to disk; what a crash
/// leaves is what the last flush had seen.
pub struct Store {
    pub(crate) dir: PathBuf,
    pub(crate) db: DB,
    pub(crate) position: Position,
    overlay: Overlay,
    pub(crate) assembly: Assembly,
    pub(crate) forgetting: Forgetting,
    /// A snapshot that is being taken in.
    pub(crate) ingest: Option<Ingest>,
    /// For deltas that wait for it.
    pub(crate) ahead: Room,
    /// The sequence that a snapshot that was taken in needs to be whole.
    pub(crate) incomplete_until: Option<u64>,
    /// The first delta that an empty store had to pass over, because those before it are gone.
    pub(crate) passed_over: Option<u64>,
    /// Errors in the background that have passed.
    background_errors: u64,
    get_options: ReadOptions,
    write_options: WriteOptions,
    /// See [`Memory::in_step`].
    in_step: bool,
}

impl Store {
    /// Opens a partition's store, or makes it. `dir` and what is above it are made where missing.
    pub fn open(dir: &Path, identity: &Identity, memory: &Memory) -> Result<Self, StateError> {
        Self::open_with(dir, identity, memory, Rule::default())
    }

    /// Opens a store whose compactions follow another rule than the engine's.
    pub fn open_with(
        dir: &Path,
        identity: &Identity,
        memory: &Memory,
        rule: Rule,
    ) -> Result<Self, StateError> {
        std::fs::create_dir_all(dir).map_err(|error| StateError::from_io(dir, &error))?;
        let forgetting = Forgetting::new(rule);
        let db = DB::open(&options::store(memory, &forgetting), dir)
            .map_err(|error| StateError::at_open(dir, error))?;
        let mut store = Self {
            dir: dir.to_owned(),
            db,
            position: Position::default(),
            overlay: Overlay::default(),
            assembly: Assembly::default(),
            forgetting,
            ingest: None,
            ahead: memory.ahead().clone(),
            incomplete_until: None,
            passed_over: None,
            background_errors: 0,
            get_options: options::get(),
            write_options: options::write(),
            in_step: memory.is_in_step(),
        };
        if reserved::check_format(&store.db, dir)? {
            store.check_identity(identity)?;
            store.check_whole_on_disk()?;
            store.read_position()?;
            store.learn_lines()?;
        } else {
            store.initialise(identity)?;
        }
        store.keep_step()?;
        Ok(store)
    }

    /// Removes a store's directory, if it is there.
    pub fn destroy(dir: &Path) -> Result<(), StateError> {
        snapshot::clean(dir)?;
        if !dir.exists() {
            return Ok(());
        }
        DB::destroy(&Options::default(), dir)
            .map_err(|error| StateError::from_rocksdb(dir, error))?;
        // What RocksDB knows of is gone, and with it the directory, unless something else lies there.
        match std::fs::remove_dir(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StateError::from_io(dir, &error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The sequence of the last delta applied; 0 before the first.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.position.sequence
    }

    /// The offset of the changelog to read on from.
    #[must_use]
    pub const fn changelog_offset(&self) -> i64 {
        self.position.changelog_offset
    }

    /// Whether the batch at hand has changed anything.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.overlay.is_empty()
    }

    /// The changes of the batch at hand as records for the changelog, with the sequence after
    /// [`Store::sequence`]. At least one, also if nothing changed. Each is at most `part_bytes_max` long, except
    /// for one whose only row is longer.
    #[must_use]
    pub fn delta(
        &mut self,
        input_offset: i64,
        control_offset: i64,
        decided_at_ms: i64,
        part_bytes_max: usize,
    ) -> Vec<Vec<u8>> {
        let header = DeltaHeader {
            sequence: self.position.sequence + 1,
            part: 1,
            parts: 1,
            input_offset,
            control_offset,
            decided_at_ms,
        };
        let mut writer = DeltaWriter::new(header, part_bytes_max);
        for (key, value) in self.overlay.sorted() {
            writer.push(key, value);
        }
        writer.finish()
    }

    /// Writes the changes of the batch at hand, the next sequence and the offset of the changelog to read on
    /// from. Only after the Kafka transaction with the [delta](Store::delta) has committed. After an error
    /// nothing is written, and it may be called again.
    pub fn commit(&mut self, changelog_offset: i64) -> Result<(), StateError> {
        let mut writes = Writes::of_about(self.overlay.bytes());
        for (key, value) in self.overlay.sorted() {
            writes.add(key, value, &self.forgetting);
        }
        let sequence = self.position.sequence + 1;
        self.write(writes, Position { sequence, changelog_offset })?;
        self.overlay.clear();
        Ok(())
    }

    /// Drops the changes of the batch at hand.
    pub fn abort(&mut self) {
        self.overlay.clear();
    }

    /// Writes everything that is committed to disk: a crash finds it from now on.
    pub fn flush(&self) -> Result<(), StateError> {
        self.db.flush().map_err(|error| self.failed(error))?;
        self.keep_step()
    }

    /// Begins to write to disk what is committed, and does not wait for it.
    pub fn flush_soon(&self) -> Result<(), StateError> {
        let mut options = rocksdb::FlushOptions::default();
        options.set_wait(self.in_step);
        self.db.flush_opt(&options).map_err(|error| self.failed(error))?;
        self.keep_step()
    }

    pub(crate) fn keep_step(&self) -> Result<(), StateError> {
        if !self.in_step {
            return Ok(());
        }
        let waited = self.db.wait_for_compact(&WaitForCompactOptions::default());
        waited.map_err(|error| self.failed(error))
    }

    /// Fails if the disk has failed behind the writer's back: what is committed goes to disk in the
    /// background, and without this the next commit would be the first to hear of an error there.
    pub fn check_disk(&mut self) -> Result<(), StateError> {
        let errors = self.db.property_int_value(properties::BACKGROUND_ERRORS);
        let errors = errors.map_err(|error| self.failed(error))?.unwrap_or_default();
        if errors <= self.background_errors {
            return Ok(());
        }
        // Some pass by themselves; one that stays comes back from the flush.
        self.flush()?;
        self.background_errors = errors;
        Ok(())
    }

    /// The offset of the changelog to read on from after a crash.
    pub fn flushed_offset(&self) -> Result<i64, StateError> {
        let row = self.db.get_opt(POSITION_KEY, &options::persisted());
        let row = row.map_err(|error| self.failed(error))?;
        let position = row.map_or(Some(Position::default()), |row| Position::read(&row));
        let position = position.ok_or_else(|| self.corrupt("the position row"))?;
        Ok(position.changelog_offset)
    }

    /// About how many bytes the store takes on disk, or will once its memory is written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let number = |name| self.db.property_int_value(name).ok().flatten().unwrap_or_default();
        number(properties::TOTAL_SST_FILES_SIZE) + number(properties::CUR_SIZE_ALL_MEM_TABLES)
    }

    /// Whether its writes wait for its disk, or soon will.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        let number = |name| self.db.property_int_value(name).ok().flatten().unwrap_or_default();
        Pressure {
            pending_bytes: number(properties::ESTIMATE_PENDING_COMPACTION_BYTES),
            is_stalled: number(properties::IS_WRITE_STOPPED) > 0
                || number(properties::ACTUAL_DELAYED_WRITE_RATE) > 0,
        }
    }

    /// Has what is in the store count as the outcome of the delta with this sequence: of a ledger that was put
    /// together here, and whose changelog begins with a snapshot of it.
    pub fn number(&mut self, sequence: u64) -> Result<(), StateError> {
        let changelog_offset = self.position.changelog_offset;
        self.write(Writes::default(), Position { sequence, changelog_offset })
    }

    /// Begins to write the ledger to its changelog, as of the last delta that is committed.
    #[must_use]
    pub const fn begin_snapshot(&self) -> SnapshotCursor {
        SnapshotCursor { sequence: self.position.sequence, parts: 0, after: Vec::new() }
    }

    /// The next slice of a snapshot: about `slice_bytes_max` of rows as they are committed now, in records of
    /// about `part_bytes_max`. The cursor is used again if the slice does not come to be committed. The slice's
    /// records go before the [delta](Store::delta) of the same transaction.
    pub fn snapshot_slice(
        &self,
        cursor: &SnapshotCursor,
        part_bytes_max: usize,
        slice_bytes_max: usize,
    ) -> Result<SnapshotSlice, StateError> {
        let closed = self.position.sequence;
        snapshot::write_slice(
            &self.db,
            &self.forgetting,
            cursor,
            closed,
            part_bytes_max,
            slice_bytes_max,
        )
        .map_err(|error| self.failed(error))
    }

    /// Compacts everything now, and forgets what can be forgotten, rather than when RocksDB comes to it.
    pub fn compact(&self) -> Result<(), StateError> {
        self.flush()?;
        let mut options = rocksdb::CompactOptions::default();
        options.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::Force);
        self.db.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &options);
        Ok(())
    }

    /// The only way into RocksDB: rows and position in one write, then the lines of what is written.
    pub(crate) fn write(&mut self, writes: Writes, position: Position) -> Result<(), StateError> {
        let Writes { mut batch, books } = writes;
        for (key, value) in books.iter() {
            if value.is_none()
                && let Some(deleted) = self.db.get(key).map_err(|error| self.failed(error))?
            {
                self.forgetting.unlearn(key, &deleted);
            }
        }
        batch.put(POSITION_KEY, position.row());
        let whole = self.incomplete_until.is_some_and(|until| position.sequence >= until);
        if whole {
            batch.delete(RESTORING_KEY);
        }
        self.db.write_opt(batch, &self.write_options).map_err(|error| self.failed(error))?;
        for (key, value) in books.iter() {
            if let Some(value) = value {
                self.forgetting.learn(key, value);
            }
        }
        if whole {
            self.incomplete_until = None;
        }
        self.position = position;
        self.assembly.clear();
        Ok(())
    }

    fn initialise(&mut self, identity: &Identity) -> Result<(), StateError> {
        let mut writes = Writes::default();
        writes.batch.put(FORMAT_KEY, reserved::format_row());
        writes.batch.put(IDENTITY_KEY, identity.row());
        self.write(writes, Position::default())?;
        self.flush()
    }

    fn check_identity(&self, identity: &Identity) -> Result<(), StateError> {
        let row = self.reserved_row(IDENTITY_KEY)?;
        let found = Identity::read(&row).ok_or_else(|| self.corrupt("the identity row"))?;
        let agreed = found.reconcile(identity, &self.dir)?.row();
        if agreed == row {
            return Ok(());
        }
        self.db
            .put_opt(IDENTITY_KEY, agreed, &self.write_options)
            .map_err(|error| self.failed(error))
    }

    fn check_whole_on_disk(&self) -> Result<(), StateError> {
        let mark = self.db.get(RESTORING_KEY).map_err(|error| self.failed(error))?;
        match mark {
            Some(_) => Err(StateError::Interrupted { dir: self.dir.clone() }),
            None => Ok(()),
        }
    }

    fn read_position(&mut self) -> Result<(), StateError> {
        let row = self.reserved_row(POSITION_KEY)?;
        self.position = Position::read(&row).ok_or_else(|| self.corrupt("the position row"))?;
        Ok(())
    }

    /// Refills the lines from the books that are on disk.
    fn learn_lines(&self) -> Result<(), StateError> {
        let prefix = self.forgetting.books_prefix();
        let mut books = self.db.raw_iterator_opt(options::get());
        books.seek(prefix);
        while let Some((key, value)) = books.item().filter(|(key, _)| key.starts_with(prefix)) {
            self.forgetting.learn(key, value);
            books.next();
        }
        books.status().map_err(|error| self.failed(error))
    }

    fn reserved_row(&self, key: &[u8]) -> Result<Vec<u8>, StateError> {
        let row = self.db.get(key).map_err(|error| self.failed(error))?;
        row.ok_or_else(|| self.corrupt("a reserved row is missing"))
    }

    pub(crate) fn failed(&self, error: rocksdb::Error) -> StateError {
        StateError::from_rocksdb(&self.dir, error)
    }

    fn corrupt(&self, what: &str) -> StateError {
        StateError::Corrupt { dir: self.dir.clone(), what: what.to_owned() }
    }
}

/// Keys that begin with [`RESERVED_TAG`](crate::RESERVED_TAG), and the empty one, are not the engine's: they
/// are absent to reads, and writing one panics, because it would be a fault of lethe's.
impl Ledger for Store {
    type Error = StateError;

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StateError> {
        value.clear();
        if let Some(change) = self.overlay.get(key) {
            value.extend_from_slice(change.unwrap_or_default());
            return Ok(change.is_some());
        }
        if is_reserved(key) {
            return Ok(false);
        }
        let row = self.db.get_pinned_opt(key, &self.get_options);
        let row = row.map_err(|error| StateError::from_rocksdb(&self.dir, error))?;
        value.extend_from_slice(row.as_deref().unwrap_or_default());
        Ok(row.is_some())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        assert!(!is_reserved(key), "the engine writes no reserved key");
        self.overlay.put(key, Some(value));
    }

    fn delete(&mut self, key: &[u8]) {
        assert!(!is_reserved(key), "the engine writes no reserved key");
        self.overlay.put(key, None);
    }

    fn scan(
        &mut self,
        from: &[u8],
        to: &[u8],
        rows_max: usize,
        rows: &mut Rows,
    ) -> Result<(), StateError> {
        scan::scan(&self.db, &mut self.overlay, from, to, rows_max, rows)
            .map_err(|error| StateError::from_rocksdb(&self.dir, error))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("dir", &self.dir)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// Rows on their way into RocksDB, and which of them are books.
#[derive(Default)]
pub(crate) struct Writes {
    batch: WriteBatch,
    books: Books,
}

impl Writes {
    /// For rows of about so many bytes: a batch that grows is copied each time.
    fn of_about(bytes: usize) -> Self {
        Self { batch: WriteBatch::with_capacity_bytes(bytes), books: Books::default() }
    }

    /// Adds a row: its key, and its value, or `None` to delete it.
    pub(crate) fn add(&mut self, key: &[u8], value: Option<&[u8]>, forgetting: &Forgetting) {
        match value {
            Some(value) => self.batch.put(key, value),
            None => self.batch.delete(key),
        }
        if forgetting.is_books(key) {
            self.books.push(key, value);
        }
    }
}

/// Rows of books, one behind the other: every tenant that a batch has touched has one.
#[derive(Default)]
struct Books {
    bytes: Vec<u8>,
    /// Where each key ends, and where its value does, if it is not deleted.
    ends: Vec<(usize, Option<usize>)>,
}

impl Books {
    fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.ends.push((key_end, value.map(|_| self.bytes.len())));
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut start = 0;
        self.ends.iter().map(move |&(key_end, value_end)| {
            let key = self.bytes.get(start..key_end).unwrap_or_default();
            start = value_end.unwrap_or(key_end);
            (key, value_end.map(|end| self.bytes.get(key_end..end).unwrap_or_default()))
        })
    }
}
