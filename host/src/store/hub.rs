//! Wakes within one process: who rings here is heard by everybody here who listens to the same database, without
//! the way through the server.
//!
//! What goes to the server as well is signed, so that nobody is woken twice by one ring. A program of an older
//! version reads past the signature.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::mpsc::UnboundedSender;

use super::Wake;
use super::connect::Connect;

/// Where the signature begins; what comes before it ends with a whole id, or a comma.
const SIGN: char = '~';

/// Everybody in this process who listens to one database.
#[derive(Debug)]
pub(super) struct Hub {
    /// No other process has it, nor another database.
    signature: String,
    ears: Mutex<Vec<Ear>>,
}

#[derive(Debug)]
struct Ear {
    channels: Vec<&'static str>,
    tell: UnboundedSender<Wake>,
}

impl Hub {
    /// The one of this database. Two URLs that lead to one database in different words have one each: then wakes
    /// take the way through the server.
    pub(super) fn of(connect: &Connect) -> Arc<Self> {
        static HUBS: Mutex<Option<HashMap<String, Weak<Hub>>>> = Mutex::new(None);
        let mut hubs = HUBS.lock().unwrap_or_else(PoisonError::into_inner);
        let hubs = hubs.get_or_insert_default();
        hubs.retain(|_, hub| hub.strong_count() > 0);
        let known = hubs.entry(connect.database()).or_default();
        known.upgrade().unwrap_or_else(|| {
            let signature = format!("{SIGN}{:016x}", fastrand::u64(..));
            let hub = Arc::new(Self { signature, ears: Mutex::default() });
            *known = Arc::downgrade(&hub);
            hub
        })
    }

    /// What is rung on these channels from now on is told, until the other end is gone.
    pub(super) fn listen(&self, channels: Vec<&'static str>, tell: UnboundedSender<Wake>) {
        let mut ears = self.lock();
        ears.retain(|ear| !ear.tell.is_closed());
        ears.push(Ear { channels, tell });
    }

    /// Tells whoever listens on this channel.
    pub(super) fn ring(&self, channel: &str, wake: &Wake) {
        for ear in self.lock().iter().filter(|ear| ear.channels.contains(&channel)) {
            let _gone = ear.tell.send(wake.clone());
        }
    }

    /// What payloads that everybody here has heard of already end with.
    pub(super) fn signature(&self) -> &str {
        &self.signature
    }

    /// Whether everybody here has heard of this before the server passed it on. Who began to listen in between looks
    /// at everything first.
    pub(super) fn has_told(&self, payload: &str) -> bool {
        payload.ends_with(&self.signature)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Ear>> {
        self.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A payload without its signature.
pub(super) fn unsigned(payload: &str) -> &str {
    payload.split_once(SIGN).map_or(payload, |(words, _)| words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::channel;

    fn of(url: &str) -> Arc<Hub> {
        Hub::of(&Connect::parse(url).expect("a URL"))
    }

    #[test]
    fn one_database_has_one_hub_as_long_as_somebody_keeps_it() {
        let hub = of("postgres://me@db:5433/jobs");
        assert!(Arc::ptr_eq(&hub, &of("postgres://you:secret@db:5433/jobs?sslmode=disable")));
        assert!(!Arc::ptr_eq(&hub, &of("postgres://me@db:5433/others")));
        assert!(!Arc::ptr_eq(&hub, &of("postgres://me@db:5434/jobs")));
        let signature = hub.signature().to_owned();
        drop(hub);
        assert_ne!(of("postgres://me@db:5433/jobs").signature(), signature);
    }

    #[test]
    fn only_what_was_signed_here_was_told_here() {
        let (here, there) = (of("postgres://here/jobs"), of("postgres://there/jobs"));
        let signed = format!("1,2,{}", here.signature());
        assert!(here.has_told(&signed) && !there.has_told(&signed) && !here.has_told("1,2"));
        assert_eq!((unsigned(&signed), unsigned("1,2")), ("1,2,", "1,2"));
    }

    #[test]
    fn each_hears_its_own_channels_until_it_is_gone() {
        let hub = of("postgres://ears/jobs");
        let (tell, mut hears) = tokio::sync::mpsc::unbounded_channel();
        hub.listen(vec![channel::LANES], tell);
        hub.ring(channel::DONE, &Wake::Done(Vec::new()));
        hub.ring(channel::LANES, &Wake::Lanes(vec![7]));
        assert_eq!(hears.try_recv(), Ok(Wake::Lanes(vec![7])));
        assert!(hears.try_recv().is_err());
        drop(hears);
        let (tell, _hears) = tokio::sync::mpsc::unbounded_channel();
        hub.listen(Vec::new(), tell);
        assert_eq!(hub.lock().len(), 1);
    }
}
