//! A consumer whose end is waited for, but not for ever: closing waits for the group, whatever has become of it.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;

use rdkafka::consumer::{BaseConsumer, ConsumerContext};

use super::super::super::settings::CLOSE_TIMEOUT;

/// A consumer that is closed on a thread of its own. If that takes too long, it is left behind: the group fences it
/// once a member of its name comes, or gives its partitions to others after its session's time.
pub(in super::super) struct Closing<C: ConsumerContext + 'static>(ManuallyDrop<BaseConsumer<C>>);

impl<C: ConsumerContext + 'static> Closing<C> {
    pub(in super::super) const fn new(consumer: BaseConsumer<C>) -> Self {
        Self(ManuallyDrop::new(consumer))
    }
}

impl<C: ConsumerContext + 'static> Deref for Closing<C> {
    type Target = BaseConsumer<C>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<C: ConsumerContext + 'static> Drop for Closing<C> {
    fn drop(&mut self) {
        // SAFETY: it is taken once, and nobody uses what is being dropped.
        let consumer = unsafe { ManuallyDrop::take(&mut self.0) };
        let (open, closed) = sync_channel::<()>(0);
        let closing = move || {
            drop(consumer);
            drop(open);
        };
        // Without a thread it is closed here, for as long as that takes.
        let started = thread::Builder::new().name("close".to_owned()).spawn(closing);
        if started.is_ok() && closed.recv_timeout(CLOSE_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(
                seconds = CLOSE_TIMEOUT.as_secs(),
                "a consumer does not close: it is left behind, and the group goes on without it"
            );
        }
    }
}
