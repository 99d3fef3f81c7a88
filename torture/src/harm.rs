//! Harm done to the system on purpose, for the checker to find.

use clap::ValueEnum;
use sqlx::PgPool;

use crate::tamper::{NO_FENCE, NOBODY_LIVES, Tamper};

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Harm {
    /// Settles are written whatever their claim, and by hosts that were declared dead.
    Fence,
    /// Whoever takes a lost host's tasks back takes those of the living with them.
    Recover,
    /// An attempt is settled a second time.
    SettleTwice,
    /// A task disappears.
    LoseARow,
}

impl Harm {
    /// What is done to the statements of hosts.
    pub(crate) fn tamper(self) -> Option<Tamper> {
        match self {
            Self::Fence => Some(NO_FENCE),
            Self::Recover => Some(NOBODY_LIVES),
            Self::SettleTwice | Self::LoseARow => None,
        }
    }

    /// What is done to the tables, once everything is at rest.
    pub(crate) async fn do_now(self, pool: &PgPool) -> sqlx::Result<()> {
        let sql = match self {
            Self::Fence | Self::Recover => return Ok(()),
            Self::SettleTwice => {
                "insert into hostler.attempt (task, number, session, claimed_at, finished_at, outcome)
                select id, attempt, session, claimed_at, finished_at, outcome
                from hostler.history
                where outcome = 1
                limit 1"
            }
            Self::LoseARow => {
                "delete from hostler.history where id = (select id from hostler.history where outcome = 1 limit 1)"
            }
        };
        sqlx::query(sql).execute(pool).await?;
        Ok(())
    }
}
