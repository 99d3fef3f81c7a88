//! What the adversary is going to do, and when: it follows from the seed alone.

use std::time::Duration;

use fastrand::Rng;

/// One thing to break, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// From the beginning of the run.
    pub(crate) at: Duration,
    pub(crate) fault: Fault,
}

/// Whose connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wires {
    Host(usize),
    Senders,
}

/// What can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL; another host is started.
    Kill(usize),
    /// SIGSTOP, and SIGCONT after this time.
    Stop(usize, Duration),
    /// SIGTERM; another host is started when it has left.
    Drain(usize),
    /// Ends so many of hostler's sessions in the database.
    Terminate(u32),
    /// Stops the database with `immediate` and starts it again.
    Restart,
    /// Kills one of the database's own processes, as the kernel does where memory runs out: every session dies with it.
    Crash,
    /// Closes connections and refuses new ones.
    Cut(Wires, Duration),
    /// Holds back every message.
    Delay(Wires, Duration, Duration),
    /// Connections that are open fall silent, for longer than anything should wait for them; new ones work.
    Silence(Wires),
    /// Gives a host another build of the plugin.
    Swap(usize),
    /// Keeps what is sent in the first time, then closes the sender's side; the second time later the server gets it.
    Hold(Wires, Duration, Duration),
}

impl Fault {
    /// Its word, in the log and on the command line.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::Stop(..) => "stop",
            Self::Drain(_) => "drain",
            Self::Terminate(_) => "terminate",
            Self::Restart => "restart",
            Self::Crash => "crash",
            Self::Cut(..) => "cut",
            Self::Delay(..) => "delay",
            Self::Silence(_) => "silence",
            Self::Swap(_) => "swap",
            Self::Hold(..) => "hold",
        }
    }
}

/// Everything for a run of this length with so many hosts.
pub(crate) fn schedule(seed: u64, length: Duration, hosts: usize, lease: Duration) -> Vec<Step> {
    // Apart from the senders', whose number may change.
    let mut rng = Rng::with_seed(seed ^ 0xadde_d0ff);
    let mut steps = Vec::new();
    let mut at = Duration::from_secs(2);
    while at < length {
        steps.push(Step { at, fault: fault(&mut rng, hosts, lease) });
        at += millis(&mut rng, 300, 2_200);
    }
    steps
}

fn fault(rng: &mut Rng, hosts: usize, lease: Duration) -> Fault {
    let host = rng.usize(..hosts);
    let wires = if rng.u8(..4) == 0 { Wires::Senders } else { Wires::Host(host) };
    let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
    match rng.u32(..106) {
        0..20 => Fault::Kill(host),
        20..27 => Fault::Stop(host, millis(rng, 50, lease_ms)),
        27..37 => Fault::Stop(host, millis(rng, lease_ms, lease_ms * 2)),
        37..45 => Fault::Drain(host),
        45..57 => Fault::Terminate(rng.u32(1..6)),
        57..60 => Fault::Restart,
        60..63 => Fault::Crash,
        63..75 => Fault::Cut(wires, millis(rng, 0, lease_ms)),
        75..83 => Fault::Delay(wires, millis(rng, 10, 600), millis(rng, 500, 4_000)),
        83..88 => Fault::Silence(wires),
        88..100 => Fault::Swap(host),
        _ => Fault::Hold(wires, millis(rng, 50, 500), millis(rng, 5_000, 40_000)),
    }
}

fn millis(rng: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.u64(from..to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_everything() {
        let make = |seed| schedule(seed, Duration::from_secs(600), 3, Duration::from_secs(4));
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
        let count = |is: fn(&Fault) -> bool| make(1).iter().filter(|step| is(&step.fault)).count();
        assert!(count(|fault| matches!(fault, Fault::Kill(_))) > 50);
        assert!(count(|fault| matches!(fault, Fault::Restart | Fault::Crash)) > 10);
        assert!(count(|fault| matches!(fault, Fault::Hold(..))) > 10);
    }
}
