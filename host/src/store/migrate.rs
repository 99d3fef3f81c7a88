//! The schema: embedded in the program, brought up to date under a lock, never downgraded.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Connection, PgConnection, Row};

use super::connect::{Between, Connect, Role, between, conn};
use super::error::StoreError;
use super::sql;

/// Whoever wants a table waits behind a migration that waits for it. One that has to wait for longer gives way, and is
/// tried again after a pause in which the others get on.
const LOCK_MAX: &str = "set lock_timeout = '500ms'";
const PAUSE: Duration = Duration::from_secs(1);
/// Tries after which it is told, again and again, who stands in the way.
const TRIES_TOLD: u32 = 5;

/// By version, from 1. Named one by one: the driver's macro would compile the driver twice, once for itself.
const MIGRATIONS: &[(&str, &str)] = &[
    ("hostler", include_str!("../../../migrations/0001_hostler.sql")),
    ("send", include_str!("../../../migrations/0002_send.sql")),
    ("retention", include_str!("../../../migrations/0003_retention.sql")),
    ("quarantine", include_str!("../../../migrations/0004_quarantine.sql")),
    ("checkpoint", include_str!("../../../migrations/0005_checkpoint.sql")),
    ("reach", include_str!("../../../migrations/0006_reach.sql")),
    ("late", include_str!("../../../migrations/0007_late.sql")),
    ("recovery", include_str!("../../../migrations/0008_recovery.sql")),
    ("values", include_str!("../../../migrations/0009_values.sql")),
    ("large", include_str!("../../../migrations/0010_large.sql")),
];

/// The newest version of the schema that this program knows.
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// The version of the schema in the database; `None` where there is none.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn schema_version(conn: &mut PgConnection) -> Result<Option<i64>, StoreError> {
    let there: bool = sqlx::query_scalar("select to_regclass('hostler._sqlx_migrations') is not null")
        .fetch_one(&mut *conn)
        .await?;
    if !there {
        return Ok(None);
    }
    Ok(sqlx::query_scalar("select max(version) from hostler._sqlx_migrations where success")
        .fetch_one(conn)
        .await?)
}

/// Brings the schema up to date. Safe to call from many processes at once; a direct connection is needed,
/// not one through a transaction pooler. Returns the versions it applied. A transaction that is open on a table it has to
/// change is waited for, however long it takes, and named; others work on meanwhile.
///
/// # Errors
/// [`StoreError::NotDirect`], [`StoreError::Pooler`], [`StoreError::SchemaTooNew`], [`StoreError::Migrate`], [`StoreError::Unreachable`].
pub async fn migrate(connect: &Connect) -> Result<Vec<i64>, StoreError> {
    let connect = connect.direct();
    let mut conn = conn(&connect, Role::Cold).await?;
    refuse_newer(&mut conn).await?;
    let before = schema_version(&mut conn).await?;
    if before == Some(SCHEMA_VERSION) {
        return Ok(Vec::new());
    }
    if between(&connect).await? == Between::Transactions {
        return Err(StoreError::NotDirect);
    }
    // The table of applied migrations lives in our schema: the database may well belong to somebody who
    // keeps migrations of their own. Two first migrators may race here.
    sqlx::query("select pg_advisory_lock(hashtext('hostler.schema'))").execute(&mut conn).await?;
    let created = sqlx::query("create schema if not exists hostler").execute(&mut conn).await;
    sqlx::query("select pg_advisory_unlock(hashtext('hostler.schema'))").execute(&mut conn).await?;
    created.map_err(|e| StoreError::Migrate(e.to_string()))?;
    sqlx::query("set search_path = hostler").execute(&mut conn).await?;
    sqlx::query(LOCK_MAX).execute(&mut conn).await?;
    let mut tries = 0;
    // Each migration is a transaction of its own: the next try goes on where this one stopped.
    while let Err(error) = migrator().run_direct(&mut conn).await {
        match error {
            MigrateError::VersionMissing(found) => {
                return Err(StoreError::SchemaTooNew { found, known: SCHEMA_VERSION });
            }
            MigrateError::Execute(said) | MigrateError::ExecuteMigration(said, _)
                if is_lock_timeout(&said) => {}
            other => return Err(StoreError::Migrate(other.to_string())),
        }
        tries += 1;
        if tries % TRIES_TOLD == 0
            && let Some(row) = sql!("holders").fetch_optional(&mut conn).await?
        {
            let (pid, program): (i32, String) = (row.try_get("pid")?, row.try_get("program")?);
            let seconds: i64 = row.try_get("seconds")?;
            tracing::warn!(
                pid,
                program,
                seconds,
                "a transaction of this process holds the migration up: end it"
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
    let applied = conn.list_applied_migrations().await.map_err(|e| StoreError::Migrate(e.to_string()))?;
    let _closed = conn.close().await;
    Ok(applied.iter().map(|m| m.version).filter(|v| before.is_none_or(|b| *v > b)).collect())
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|said| said.code()).as_deref() == Some("55P03")
}

/// Refuses a database that a newer hostler has migrated.
///
/// # Errors
/// [`StoreError::SchemaTooNew`].
pub async fn refuse_newer(conn: &mut PgConnection) -> Result<(), StoreError> {
    match schema_version(conn).await? {
        Some(found) if found > SCHEMA_VERSION => {
            Err(StoreError::SchemaTooNew { found, known: SCHEMA_VERSION })
        }
        _ => Ok(()),
    }
}

fn migrator() -> Migrator {
    let migrations = (1..).zip(MIGRATIONS).map(|(version, &(name, sql))| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into(), false)
    });
    Migrator { migrations: Cow::Owned(migrations.collect()), ..Migrator::DEFAULT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_of_the_directory_is_known() {
        let dir =
            std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations")).expect("it is there");
        let mut files: Vec<_> = dir.map(|file| file.expect("a file").path()).collect();
        files.sort_unstable();
        let known =
            (1..).zip(MIGRATIONS).map(|(version, (name, sql))| (format!("{version:04}_{name}.sql"), *sql));
        let there = files.iter().map(|file| {
            let name = file.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(file).expect("text"))
        });
        assert!(known.eq(there.map(|(name, sql)| (name, &*sql.leak()))), "{files:?}");
    }
}
