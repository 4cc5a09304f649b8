//! Searches files for what must not be in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Every file below a directory that holds these bytes, and how many files there are.
pub(super) fn files_with(dir: &Path, marker: &[u8]) -> io::Result<(Vec<PathBuf>, usize)> {
    let (mut found, mut files) = (Vec::new(), 0);
    let mut directories = vec![dir.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
                continue;
            }
            files += 1;
            if contains(&fs::read(entry.path())?, marker) {
                found.push(entry.path());
            }
        }
    }
    Ok((found, files))
}

/// Whether some bytes are among others.
pub(super) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len().max(1)).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn finds_what_is_there_and_only_that() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/b"), b"xxmarkerxx").unwrap();
        fs::write(dir.path().join("c"), b"xxx").unwrap();
        let (found, files) = files_with(dir.path(), b"marker").unwrap();
        assert_eq!((found, files), (vec![dir.path().join("a/b")], 2));
        assert_eq!(files_with(dir.path(), b"other").unwrap().0.len(), 0);
    }
}
