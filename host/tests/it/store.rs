//! The contracts between send, claim, settle and recovery, each with the interleaving that would break a
//! design without it. Two connections and explicit transactions force every order of events; "has to wait" is
//! seen in the server's own list of who waits for a lock.

mod checkpoints;
mod children;
mod claims;
mod cost;
mod dead;
mod doorbell;
mod doubles;
mod durability;
mod fence;
mod holders;
mod keys;
mod late;
mod nodelay;
mod partitions;
mod places;
mod plans;
mod poison;
mod recovery;
mod retention;
mod stage;
mod upgrade;
mod values;
mod verdicts;
