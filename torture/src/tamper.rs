//! Breaks hostler on purpose, on its way to the database: replaces words of its statements. What comes of it the
//! checker has to see; that is how it is known to look.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Words of a statement, and what is said instead.
#[derive(Debug, Clone)]
pub(crate) struct Tamper {
    /// How the statement begins.
    pub(crate) statement: &'static str,
    pub(crate) words: &'static [(&'static str, &'static str)],
}

/// Settles whatever the claim, and whoever has been declared dead.
pub(crate) const NO_FENCE: Tamper = Tamper {
    statement: "-- Writes verdicts",
    words: &[
        ("where session = $1 and ended_at is null", "where session = $1"),
        ("t.session = $1", "true"),
        ("t.claim = v.claim", "true"),
    ],
};

/// Takes back the tasks of every host.
pub(crate) const NOBODY_LIVES: Tamper = Tamper {
    statement: "-- Takes tasks back",
    words: &[("from hostler.host where ended_at is null", "from hostler.host where false")],
};

impl Tamper {
    /// Carries a client's messages to the server, some of them changed.
    pub(crate) async fn forward(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> std::io::Result<()> {
        // The startup message alone has no tag.
        let mut message = body(&mut from).await?;
        to.write_all(&framed(None, &message)).await?;
        loop {
            let tag = from.read_u8().await?;
            message = body(&mut from).await?;
            // Parse: a name, the statement, the types.
            if tag == b'P' {
                message = self.changed(message);
            }
            to.write_all(&framed(Some(tag), &message)).await?;
        }
    }

    fn changed(&self, message: Vec<u8>) -> Vec<u8> {
        let mut parts = message.splitn(3, |byte| *byte == 0);
        let (Some(name), Some(statement), Some(types)) = (parts.next(), parts.next(), parts.next()) else {
            return message;
        };
        let Ok(statement) = std::str::from_utf8(statement) else { return message };
        if !statement.starts_with(self.statement) {
            return message;
        }
        let changed = self.words.iter().fold(statement.to_owned(), |text, (said, instead)| {
            assert!(text.contains(said), "the statement says {said:?} no more");
            text.replace(said, instead)
        });
        [name, changed.as_bytes(), types].join(&0)
    }
}

async fn body(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut body = vec![0; usize::try_from(length).unwrap_or(4).saturating_sub(4)];
    from.read_exact(&mut body).await?;
    Ok(body)
}

fn framed(tag: Option<u8>, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    let mut message: Vec<u8> = tag.into_iter().collect();
    message.extend(length.to_be_bytes());
    message.extend(body);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_statement_that_is_meant_is_changed() {
        let settle = b"s1\0-- Writes verdicts\nwhere session = $1 and ended_at is null, t.session = $1 and t.claim = v.claim\0\0\0";
        let changed = NO_FENCE.changed(settle.to_vec());
        assert_eq!(changed, b"s1\0-- Writes verdicts\nwhere session = $1, true and true\0\0\0");
        let other = b"s2\0select 1\0\0\0".to_vec();
        assert_eq!(NO_FENCE.changed(other.clone()), other);
    }
}
