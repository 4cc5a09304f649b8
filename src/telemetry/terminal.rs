//! What a person at a terminal sees beside the logs: how far a restore is.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::health::{Health, Snapshot};

/// How often the bar moves.
const EVERY: Duration = Duration::from_millis(200);

/// What is on the terminal; it makes room for lines of the log.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Standard error, above the bar.
#[derive(Clone, Copy, Debug)]
pub struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Shows each restore for as long as it lasts; never ends by itself.
pub async fn show_restores(health: Arc<Health>) {
    let mut restore = None;
    loop {
        tokio::time::sleep(EVERY).await;
        restore = show(restore, &health.snapshot());
    }
}

fn show(restore: Option<ProgressBar>, now: &Snapshot) -> Option<ProgressBar> {
    let left = now.restore_left;
    let bar = match (restore, left) {
        (None, 0) => return None,
        (Some(bar), 0) => {
            bar.finish_and_clear();
            return None;
        }
        (Some(bar), _) => bar,
        (None, _) => BARS.add(ProgressBar::new(left).with_style(style())),
    };
    // More may be assigned meanwhile.
    let length = bar.length().unwrap_or(0).max(left);
    bar.set_length(length);
    bar.set_position(length - left);
    let (done, all) = (now.partitions_restored, now.partitions_assigned);
    bar.set_message(format!("{done} of {all} partitions are ready"));
    Some(bar)
}

fn style() -> ProgressStyle {
    let template = "restoring {bar:30} {pos}/{len} changelog records, {msg}, {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(left: u64) -> Snapshot {
        let health = Health::new(1);
        health.restoring(0, left);
        health.snapshot()
    }

    #[test]
    fn a_restore_is_shown_for_as_long_as_it_lasts() {
        assert!(show(None, &at(0)).is_none());
        let bar = show(None, &at(10));
        let bar = show(bar, &at(4));
        assert_eq!(bar.as_ref().map(|bar| (bar.position(), bar.length())), Some((6, Some(10))));
        assert!(show(bar, &at(0)).is_none());
    }
}
