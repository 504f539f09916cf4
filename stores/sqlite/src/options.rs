//! How a store is opened.

use std::{sync::Arc, time::Duration};

use tidings_core::{Clock, SystemClock};
use tidings_store::Limits;

/// How a store is opened; [`Options::default`] is meant for production.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where recorded times and leases get the time from.
    pub clock: Arc<dyn Clock>,
    /// What a commit may be.
    pub limits: Limits,
    /// Whether a file that is not there is made.
    pub create: bool,
    /// Whether the file is only read; every write answers [`Error::ReadOnly`](tidings_store::Error::ReadOnly).
    pub read_only: bool,
    /// Bytes of pages the writer keeps in memory: 32 MiB. Readers keep an eighth of it each.
    pub cache_bytes: usize,
    /// The write-ahead log is copied into the file when it has grown to this many bytes: 48 MiB. Smaller means more
    /// copying, larger a longer first opening after a crash.
    pub checkpoint_bytes: usize,
    /// The most recent events kept in memory for readers near the head: 8,192.
    pub ring_events: usize,
    /// The most bytes of payload these may have: 16 MiB.
    pub ring_bytes: usize,
    /// How long to wait for another process that writes, before the answer is
    /// [`Error::Locked`](tidings_store::Error::Locked): 5 s.
    pub lock_wait: Duration,
    /// Connections kept open for reading: 4. More are opened when more readers read at once, and closed again.
    pub readers: usize,
    /// The most commits made durable by one sync: 1,024.
    pub group: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
            create: true,
            read_only: false,
            cache_bytes: 32 << 20,
            checkpoint_bytes: 48 << 20,
            ring_events: 8_192,
            ring_bytes: 16 << 20,
            lock_wait: Duration::from_secs(5),
            readers: 4,
            group: 1_024,
        }
    }
}
