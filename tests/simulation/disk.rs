//! What a killed process leaves on its disk.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// Copies what a killed process leaves of its stores: the files as they are, without what RocksDB has in memory.
pub(crate) fn copy(from: &Path, to: &Path) {
    let Ok(stores) = fs::read_dir(from) else { return };
    for store in stores.flatten() {
        let target = to.join(store.file_name());
        // RocksDB may just be removing a file that it no longer needs: then it is done again.
        loop {
            let _ = fs::remove_dir_all(&target);
            fs::create_dir_all(&target).unwrap();
            let before = listing(&store.path());
            let copied = before
                .iter()
                .all(|(name, _)| fs::copy(store.path().join(name), target.join(name)).is_ok());
            if copied && before == listing(&store.path()) {
                break;
            }
        }
    }
}

/// A store's files that matter, with their lengths.
fn listing(dir: &Path) -> Vec<(OsString, u64)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|file| !file.file_name().to_string_lossy().starts_with("LOG"))
        .map(|file| (file.file_name(), file.metadata().map_or(0, |data| data.len())))
        .collect();
    files.sort();
    files
}
