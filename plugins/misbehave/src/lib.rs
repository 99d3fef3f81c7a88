//! The plugin `misbehave`: each task breaks one rule, and the sandbox tests see what becomes of it.
//!
//! Not for production, though nothing here can do harm: that is what the tests show. `run_away` holds what ends an
//! attempt by force, `run_over` what is too much, `peculiar` what is merely odd,
//! `trespass` what reaches outside, `reach` what reaches for the host's database.

pub mod peculiar;
pub mod reach;
pub mod run_away;
pub mod run_over;
pub mod trespass;

hostler_guest::plugin!(
    "misbehave",
    [
        run_away::abort,
        run_away::exit,
        run_away::recurse,
        run_away::spin,
        run_away::trap,
        run_over::allocate,
        run_over::big_result,
        run_over::flood,
        run_over::hoard,
        run_over::pester,
        run_over::shout,
        peculiar::connect,
        peculiar::counter,
        peculiar::noop,
        peculiar::reserved_code,
        peculiar::sleep,
        peculiar::spin_until_cancelled,
        peculiar::step,
        reach::fork_bomb,
        reach::send,
        reach::store,
        trespass::fetch,
        trespass::list,
        trespass::read,
        trespass::variable,
        trespass::write,
    ]
);
