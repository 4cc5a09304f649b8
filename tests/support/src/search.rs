//! Looks for planted content where it must not be.

use std::fs;
use std::path::{Path, PathBuf};

/// Every file under `path` that contains the marker. Files that vanish meanwhile are passed over.
#[must_use]
pub fn files_with(path: &Path, marker: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    visit(path, &mut |file, bytes| {
        if contains(bytes, marker) {
            found.push(file.to_owned());
        }
    });
    found
}

/// How many files there are under `path`, and their bytes together: a search through nothing proves nothing.
#[must_use]
pub fn extent(path: &Path) -> (usize, usize) {
    let mut extent = (0, 0);
    visit(path, &mut |_, bytes| extent = (extent.0 + 1, extent.1 + bytes.len()));
    extent
}

/// Whether the marker is anywhere in the bytes.
#[must_use]
pub fn contains(bytes: &[u8], marker: &[u8]) -> bool {
    marker.is_empty() || bytes.windows(marker.len()).any(|window| window == marker)
}

fn visit(path: &Path, see: &mut dyn FnMut(&Path, &[u8])) {
    if path.is_file() {
        if let Ok(bytes) = fs::read(path) {
            see(path, &bytes);
        }
        return;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        visit(&entry.path(), see);
    }
}
