//! Structured log lines, kept with the attempt: `log::info!("read {n} rows")`.

use std::borrow::Cow;
use std::fmt;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// For whoever looks for a fault.
    Debug,
    /// Worth knowing.
    Info,
    /// Odd, and survived.
    Warn,
    /// Went wrong.
    Error,
}

/// Writes one line; the macros of this module read better.
///
/// Lines beyond the attempt's log budget are dropped by the host, which tells their number.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    let message = message.as_str().map_or_else(|| Cow::Owned(message.to_string()), Cow::Borrowed);
    #[cfg(target_arch = "wasm32")]
    super::wasm::log(level, &message);
    #[cfg(not(target_arch = "wasm32"))]
    super::testing::scope::log(level, &message);
}

macro_rules! level {
    ($dollar:tt $hidden:ident $name:ident $level:ident $doc:literal) => {
        #[doc(hidden)]
        #[macro_export]
        macro_rules! $hidden {
            ($dollar($dollar part:tt)+) => {
                $crate::log::write($crate::log::Level::$level, ::core::format_args!($dollar($dollar part)+))
            };
        }
        #[doc = $doc]
        pub use $hidden as $name;
    };
}

level!($ __trace trace Trace "Writes one line for every step, formatted as `format!` does.");
level!($ __debug debug Debug "Writes one line for whoever looks for a fault, formatted as `format!` does.");
level!($ __info info Info "Writes one line worth knowing, formatted as `format!` does.");
level!($ __warn warn Warn "Writes one line about something odd, formatted as `format!` does.");
level!($ __error error Error "Writes one line about something that went wrong, formatted as `format!` does.");
