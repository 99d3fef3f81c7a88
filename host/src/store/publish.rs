//! What hosts offer: task names with their schemas, and which host serves them.

use sqlx::{PgConnection, Row};

use crate::task::{Descriptor, Session};

use super::{error::StoreError, sql};

/// One plugin's offer.
#[derive(Debug, Clone)]
pub struct Offer<'a> {
    /// What it says about itself.
    pub descriptor: &'a Descriptor,
    /// SHA-256 of the component, in hex.
    pub digest: &'a str,
}

/// An offer's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The plugin's number.
    pub plugin: i32,
    /// Full task names with their kinds' numbers.
    pub kinds: Vec<(String, i32)>,
}

/// Publishes a plugin's tasks.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn publish(conn: &mut PgConnection, offer: &Offer<'_>) -> Result<Published, StoreError> {
    let Descriptor { name, version, tasks, .. } = offer.descriptor;
    let names: Vec<String> = tasks.iter().map(|t| format!("{name}.{}", t.name)).collect();
    let descriptions: Vec<&str> = tasks.iter().map(|t| t.description.as_str()).collect();
    let args: Vec<String> = tasks.iter().map(|t| t.args_schema.to_string()).collect();
    let results: Vec<String> = tasks.iter().map(|t| t.result_schema.to_string()).collect();
    let policies: Vec<String> =
        tasks.iter().map(|t| serde_json::to_string(&t.policy).unwrap_or_default()).collect();
    let rows = sql!("publish")
        .bind(name)
        .bind(version)
        .bind(offer.digest)
        .bind(names)
        .bind(descriptions)
        .bind(args)
        .bind(results)
        .bind(policies)
        .fetch_all(conn)
        .await?;
    let mut published = Published { plugin: 0, kinds: Vec::with_capacity(rows.len()) };
    for row in rows {
        published.plugin = row.try_get("plugin")?;
        published.kinds.push((row.try_get("name")?, row.try_get("kind")?));
    }
    Ok(published)
}

/// Writes down what a host serves now: pairs of kind and plugin.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn serve(
    conn: &mut PgConnection,
    session: Session,
    serving: &[(i32, i32)],
) -> Result<(), StoreError> {
    let (kinds, plugins): (Vec<i32>, Vec<i32>) = serving.iter().copied().unzip();
    sql!("serve").bind(session.0).bind(kinds).bind(plugins).fetch_one(conn).await?;
    Ok(())
}
