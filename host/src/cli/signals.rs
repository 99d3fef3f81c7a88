//! SIGINT and SIGTERM: the first one asks, the second one ends the process at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::exit::Exit;

/// Told of the first signal.
#[derive(Debug, Clone)]
pub(super) struct Signals {
    /// 128 and the signal's number, as a shell would say it.
    first: watch::Receiver<Option<u8>>,
}

impl Signals {
    /// Listens from now on.
    pub(super) fn listen() -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (tell, first) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                let code = tokio::select! {
                    _ = interrupt.recv() => 130,
                    _ = terminate.recv() => 143,
                };
                if tell.borrow().is_some() {
                    std::process::exit(code.into());
                }
                tell.send_replace(Some(code));
            }
        });
        Ok(Self { first })
    }

    /// Waits for the first signal. Cancel-safe.
    pub(super) async fn received(&self) -> u8 {
        let mut first = self.first.clone();
        let code = first.wait_for(Option::is_some).await.ok().and_then(|code| *code);
        match code {
            Some(code) => code,
            None => std::future::pending().await,
        }
    }

    /// The work, unless a signal comes first; then the work is dropped.
    pub(super) async fn or<T>(&self, work: impl Future<Output = Result<T, Exit>>) -> Result<T, Exit> {
        tokio::select! {
            done = work => done,
            code = self.received() => Err(Exit::Signal(code)),
        }
    }
}
