//! The integration tests: one binary, because linking the sandbox takes a while.
//!
//! They run against a real PostgreSQL (the embedded one, without fsync) and real components, built by the
//! tests themselves. Nothing waits for a duration: tests wait for what they are about, with a generous end.

mod cli;
mod deploy;
mod dispatch;
mod embedded;
mod handle;
mod langs;
mod outages;
mod processes;
mod races;
mod sandbox;
mod store;
mod support;
mod testing;
mod trip;
mod walls;
