//! The signals by which a person or a supervisor ends a process.

use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
};

/// Completes at the first SIGTERM or SIGINT. A second one of either ends the process at once, with status 130.
///
/// They are heard from now on, not only when this is awaited: called before an application starts, it leaves no moment in
/// which a signal ends the process as if nobody had cared. Outside a tokio runtime they are heard once it is awaited.
/// Where signals cannot be heard, it never completes.
///
/// # Panics
/// In a tokio runtime that was built without its I/O driver.
pub fn signals() -> impl Future<Output = ()> + Send + 'static {
    let heard = Handle::try_current().ok().map(|_| Heard::begin());
    async move {
        let Some(mut heard) = heard.unwrap_or_else(Heard::begin) else {
            tracing::error!("signals cannot be heard; end the process by other means");
            return std::future::pending().await;
        };
        heard.next().await;
        tokio::spawn(async move {
            heard.next().await;
            std::process::exit(130);
        });
    }
}

struct Heard {
    terminate: Signal,
    interrupt: Signal,
}

impl Heard {
    fn begin() -> Option<Self> {
        let terminate = signal(SignalKind::terminate()).ok()?;
        Some(Self { terminate, interrupt: signal(SignalKind::interrupt()).ok()? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
