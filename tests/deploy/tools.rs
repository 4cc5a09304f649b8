//! The tools that check what is deployed. None is optional: `scripts/prerequisites test` brings them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where `scripts/prerequisites` puts what Debian has no package for.
pub(crate) fn directory() -> PathBuf {
    let output = Command::new("scripts/prerequisites").arg("--tools").output();
    let output = output.expect("scripts/prerequisites starts");
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// The path of a tool: among those, or on the search path.
pub(crate) fn find(name: &str) -> PathBuf {
    let own = directory().join("bin").join(name);
    let search = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&search).map(|dir| dir.join(name));
    let found = std::iter::once(own).chain(on_path).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: scripts/prerequisites build test brings it"))
}

/// Runs a tool in a directory; what it says, if it is content.
pub(crate) fn run<A: AsRef<OsStr>>(
    dir: &Path,
    name: &str,
    args: impl IntoIterator<Item = A>,
) -> Result<String, String> {
    let mut command = Command::new(find(name));
    command.current_dir(dir).args(args);
    command.env("PYTHONPATH", directory().join("python"));
    let output =
        command.output().unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout);
    if output.status.success() {
        Ok(said)
    } else {
        Err(format!("{name}: {}\n{said}{}", output.status, text(&output.stderr)))
    }
}

/// The same, where nothing else is expected.
pub(crate) fn must<A: AsRef<OsStr>>(
    dir: &Path,
    name: &str,
    args: impl IntoIterator<Item = A>,
) -> String {
    run(dir, name, args).unwrap_or_else(|said| panic!("{said}"))
}
