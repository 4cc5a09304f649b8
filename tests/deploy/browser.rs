//! Chromium without a screen: what it makes of a page.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lethe_test_support::process;

use crate::tools;

/// How much time passes for a page before it is looked at; it takes as long as its work.
const PASSES_MS: u32 = 15_000;

/// What the browser is told to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

impl Scheme {
    /// Blink's `PreferredColorScheme`.
    fn flag(self) -> &'static str {
        match self {
            Self::Light => "--blink-settings=preferredColorScheme=1",
            Self::Dark => "--blink-settings=preferredColorScheme=0",
        }
    }
}

/// The page's elements once so much time has passed for it, and what its console says.
pub(crate) fn elements(url: &str, scheme: Scheme) -> (String, String) {
    let passes = format!("--virtual-time-budget={PASSES_MS}");
    let flags = ["--dump-dom", "--enable-logging=stderr", scheme.flag(), passes.as_str(), url];
    let (page, said) = run(flags);
    let console = said.lines().filter(|line| line.contains("CONSOLE"));
    (page, console.collect::<Vec<_>>().join("\n"))
}

/// A picture of the page on a screen of this size; how large it is.
pub(crate) fn picture(url: &str, scheme: Scheme, size: (u32, u32), file: &Path) -> (u32, u32) {
    let window = format!("--window-size={},{}", size.0, size.1);
    let shot = format!("--screenshot={}", file.display());
    run(["--hide-scrollbars", scheme.flag(), &window, &shot, url]);
    let png = fs::read(file).expect("a picture");
    let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    // PNG: eight bytes, then the header with width and height.
    (side(16), side(20))
}

fn run<A: AsRef<OsStr>>(flags: impl IntoIterator<Item = A>) -> (String, String) {
    let profile: PathBuf = process::directory("chromium");
    let mut command = Command::new(tools::find("chromium"));
    // Its sandbox needs rights that a container seldom gives.
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.arg(format!("--user-data-dir={}", profile.display())).args(flags);
    let output = command.output().expect("chromium starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (page, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "chromium: {}\n{said}", output.status);
    (page, said)
}
