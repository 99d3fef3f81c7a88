//! Harm done to the system on purpose, for the checker to find.

use clap::ValueEnum;
use sqlx::PgPool;

use crate::tamper::{NO_FENCE, Tamper};

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Harm {
    /// Settles are written whatever their claim, and by hosts that were declared dead.
    Fence,
    /// An attempt is settled a second time.
    SettleTwice,
    /// A task disappears.
    LoseARow,
}

impl Harm {
    /// What is done to the statements of hosts.
    pub(crate) fn tamper(self) -> Option<Tamper> {
        (self == Self::Fence).then_some(NO_FENCE)
    }

    /// What is done to the tables, once everything is at rest.
    pub(crate) async fn do_now(self, pool: &PgPool) -> sqlx::Result<()> {
        let sql = match self {
            Self::Fence => return Ok(()),
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
