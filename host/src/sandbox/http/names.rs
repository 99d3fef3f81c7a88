//! How a server's name becomes addresses.
//!
//! Nobody can stop a look-up, and each holds a thread until it ends: long after the guest that asked has given up, if
//! the name's own server is slow. So there are so many at once for the host, some of them for each plugin, and a few
//! for each attempt.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many for all guests of this process.
static ALL: Semaphore = Semaphore::const_new(128);
/// So many for the attempts of one plugin: whoever uses them up waits for itself alone.
const OF_PLUGIN: usize = 8;
/// So many for one attempt.
const OF_ATTEMPT: usize = 2;

type Look = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Looks names up as the system does, or in its place: tests let a name move with it, or never be found.
#[derive(Clone)]
pub struct Names(Arc<Look>);

impl Names {
    /// Looks a name and a port up with this function, which may take its time.
    pub fn new(look: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::new(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

/// What somebody has of the look-ups. Clones share it.
#[derive(Clone)]
pub(super) struct Share(Arc<Semaphore>);

impl Share {
    pub(super) fn of_plugin() -> Self {
        Self(Arc::new(Semaphore::new(OF_PLUGIN)))
    }

    pub(super) fn of_attempt() -> Self {
        Self(Arc::new(Semaphore::new(OF_ATTEMPT)))
    }

    async fn take(&self) -> io::Result<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)
    }
}

impl Names {
    /// Looks a name up within these shares. Dropped, what has begun goes on to its end.
    ///
    /// # Errors
    /// As the look-up.
    pub(super) async fn look_up(
        &self,
        host: &str,
        port: u16,
        shares: [&Share; 2],
    ) -> io::Result<Vec<SocketAddr>> {
        let [first, second] = shares;
        let shared = [first.take().await?, second.take().await?];
        let one = ALL.acquire().await.map_err(io::Error::other)?;
        let (look, host) = (Arc::clone(&self.0), host.to_owned());
        let look = move || {
            // Given back when the look-up ends, not when whoever waits for it gives up.
            let _held = (shared, one);
            look(&host, port)
        };
        tokio::task::spawn_blocking(look).await.map_err(io::Error::other)?
    }
}
