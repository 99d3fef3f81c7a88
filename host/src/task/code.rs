//! Error codes. The family says what the caller is to do; the code says what happened.

use std::fmt;

macro_rules! family {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every code of this family.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code's word, SCREAMING_SNAKE_CASE.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl From<$name> for ErrorCode {
            fn from(code: $name) -> Self { Self::$name(code) }
        }
    };
}

family! {
    /// The caller could not find out; asking again is legitimate.
    Retrieval {
        /// The wait ended before the task did; it may still run. `data`: `timeout_ms`, `status`.
        WaitTimeout = "WAIT_TIMEOUT",
        /// No task has this id, or its retention has passed.
        TaskNotFound = "TASK_NOT_FOUND",
        /// The task is final, but its payload is gone.
        ResultNotAvailable = "RESULT_NOT_AVAILABLE",
        /// The database could not be asked.
        BrokerError = "BROKER_ERROR",
        /// A blocking call on a thread of an async runtime; nothing was asked.
        AsyncContext = "ASYNC_CONTEXT",
    }
}
family! {
    /// The caller knows how the task ended.
    Ending {
        /// Somebody cancelled it.
        TaskCancelled = "TASK_CANCELLED",
        /// Its `good_until` passed before an attempt could start.
        TaskExpired = "TASK_EXPIRED",
        /// An attempt took longer than its wall-clock limit.
        TaskTimeout = "TASK_TIMEOUT",
    }
}
family! {
    /// Somebody should look at the host or the plugin.
    Operational {
        /// The task failed in a way its author did not describe properly.
        UnhandledError = "UNHANDLED_ERROR",
        /// The host running it died, or could not run it, too often.
        WorkerCrashed = "WORKER_CRASHED",
        /// The plugin does not have the task it promised.
        WorkerResolutionError = "WORKER_RESOLUTION_ERROR",
        /// The host could not store what the task produced.
        WorkerSerializationError = "WORKER_SERIALIZATION_ERROR",
        /// The caller's type does not fit the stored result.
        ResultDeserializationError = "RESULT_DESERIALIZATION_ERROR",
    }
}
family! {
    /// The call has to be fixed.
    Contract {
        /// The arguments do not fit the task's schema.
        ArgumentTypeMismatch = "ARGUMENT_TYPE_MISMATCH",
        /// The result is not the JSON the task promised.
        ReturnTypeMismatch = "RETURN_TYPE_MISMATCH",
    }
}
family! {
    /// The plugin or its grants have to be fixed.
    Sandbox {
        /// The guest panicked, aborted or did something WebAssembly forbids.
        Trapped = "TRAPPED",
        /// The attempt used more CPU time than it may.
        CpuExceeded = "CPU_EXCEEDED",
        /// The guest asked for more memory than it may have.
        MemoryExceeded = "MEMORY_EXCEEDED",
        /// The guest recursed too deeply.
        StackExhausted = "STACK_EXHAUSTED",
        /// The result is larger than it may be.
        OutputTooLarge = "OUTPUT_TOO_LARGE",
        /// The guest used something it was not granted.
        CapabilityDenied = "CAPABILITY_DENIED",
    }
}

/// What went wrong, in one word, and in whose hands it lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// Could not find out; ask again.
    Retrieval(Retrieval),
    /// How the task ended.
    Ending(Ending),
    /// Look at the host or the plugin.
    Operational(Operational),
    /// Fix the call.
    Contract(Contract),
    /// Fix the plugin or its grants.
    Sandbox(Sandbox),
    /// What the task itself returned; handle it.
    User(String),
}

/// The families, as stored beside the code so that no user code can pass for one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// See [`Retrieval`].
    Retrieval,
    /// See [`Ending`].
    Ending,
    /// See [`Operational`].
    Operational,
    /// See [`Contract`].
    Contract,
    /// See [`Sandbox`].
    Sandbox,
    /// A code of the task's own.
    User,
}

impl ErrorCode {
    /// Every code that a host reserves, in the order of the families.
    pub fn reserved() -> impl Iterator<Item = Self> {
        (Retrieval::ALL.iter().map(|&c| c.into()))
            .chain(Ending::ALL.iter().map(|&c| c.into()))
            .chain(Operational::ALL.iter().map(|&c| c.into()))
            .chain(Contract::ALL.iter().map(|&c| c.into()))
            .chain(Sandbox::ALL.iter().map(|&c| c.into()))
    }

    /// The reserved code with this word, if there is one.
    #[must_use]
    pub fn from_reserved(word: &str) -> Option<Self> {
        Self::reserved().find(|code| code.as_str() == word)
    }

    /// Puts a stored code and family together again. A word that this version does not know stays
    /// readable as a user code.
    #[must_use]
    pub fn from_parts(family: Family, word: &str) -> Self {
        let reserved = Self::from_reserved(word).filter(|code| code.family() == family);
        reserved.unwrap_or_else(|| Self::User(word.to_owned()))
    }

    /// The code's word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Retrieval(c) => c.as_str(),
            Self::Ending(c) => c.as_str(),
            Self::Operational(c) => c.as_str(),
            Self::Contract(c) => c.as_str(),
            Self::Sandbox(c) => c.as_str(),
            Self::User(word) => word,
        }
    }

    /// The code's family.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Retrieval(_) => Family::Retrieval,
            Self::Ending(_) => Family::Ending,
            Self::Operational(_) => Family::Operational,
            Self::Contract(_) => Family::Contract,
            Self::Sandbox(_) => Family::Sandbox,
            Self::User(_) => Family::User,
        }
    }

    /// Whether a task may use this word: SCREAMING_SNAKE_CASE, at most 64 characters.
    #[must_use]
    pub fn is_well_formed(word: &str) -> bool {
        word.len() <= 64
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    }
}

impl Family {
    /// The number stored in the database.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Retrieval => 1,
            Self::Ending => 2,
            Self::Operational => 3,
            Self::Contract => 4,
            Self::Sandbox => 5,
            Self::User => 6,
        }
    }

    /// The family stored as `number`; a number of a later version reads as [`Family::User`].
    #[must_use]
    pub fn from_number(number: i16) -> Self {
        [Self::Retrieval, Self::Ending, Self::Operational, Self::Contract, Self::Sandbox]
            .into_iter()
            .find(|family| family.number() == number)
            .unwrap_or(Self::User)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_string_cannot_pass_for_one_of_ours() {
        let forged = ErrorCode::from_parts(Family::User, "TRAPPED");
        assert_eq!(forged, ErrorCode::User("TRAPPED".to_owned()));
        assert_ne!(forged, Sandbox::Trapped.into());
    }

    #[test]
    fn stored_parts_give_the_same_code_back() {
        for code in ErrorCode::reserved().chain([ErrorCode::User("OUT_OF_STOCK".to_owned())]) {
            let family = Family::from_number(code.family().number());
            assert_eq!(ErrorCode::from_parts(family, code.as_str()), code);
            assert!(ErrorCode::is_well_formed(code.as_str()));
        }
    }
}
