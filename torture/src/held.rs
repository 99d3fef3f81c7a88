//! Messages that arrive long after their sender was cut off: a network that delivers late, a pooler that queues.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio::sync::watch;

use crate::wire::{Mood, pass, stand_by};

/// What is delivered late is carried out within this; then its connection is closed.
const CARRIED_OUT_WITHIN: Duration = Duration::from_secs(3);

/// Carries a sender's messages. While the mood is to hold them, it keeps the first one that may write something, and
/// whatever follows: what only asks, such as whether the connection lives, is not worth being late.
pub(crate) async fn messages(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut mood: watch::Receiver<Mood>,
) -> std::io::Result<()> {
    let (mut kept, mut keeps) = (Vec::new(), false);
    while !matches!(*mood.borrow_and_update(), Mood::Orphaned | Mood::Late) {
        // Whole messages, as they were sent.
        kept.reserve(1 << 16);
        tokio::select! {
            read = from.read_buf(&mut kept) => match read {
                Ok(1..) => {}
                // A sender that leaves has sent what it has sent.
                _ if keeps => break,
                ended => return ended.map(drop),
            },
            changed = mood.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return Ok(()),
            },
        }
        stand_by(&mut mood).await;
        keeps = keeps || *mood.borrow() == Mood::Held && may_write(&kept);
        if !keeps {
            to.write_all(&kept).await?;
            kept.clear();
        }
    }
    drop(from);
    if !keeps || mood.wait_for(|mood| *mood == Mood::Late).await.is_err() {
        return Ok(());
    }
    to.write_all(&kept).await?;
    // The answers end this, if the server closes first.
    tokio::time::sleep(CARRIED_OUT_WITHIN).await;
    Ok(())
}

/// Whether this piece begins with a statement that has parameters, or with a command other than BEGIN.
fn may_write(piece: &[u8]) -> bool {
    // A tag and a length, then in a Bind: the portal's name, the statement's, formats, parameters.
    let Some((b'Q' | b'B', body)) = piece.get(5..).map(|body| (piece[0], body)) else { return false };
    if piece[0] == b'Q' {
        return !body.starts_with(b"BEGIN");
    }
    let number = |at: usize| Some(usize::from(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?])));
    let mut zeros = body.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(at, _)| at);
    let parameters = zeros.nth(1).and_then(|named| number(named + 1 + 2 + 2 * number(named + 1)?));
    parameters.is_some_and(|parameters| parameters > 0)
}

/// Carries the server's answers; once the sender is cut off nobody hears them.
pub(crate) async fn answers(
    mut from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    mut mood: watch::Receiver<Mood>,
) -> std::io::Result<()> {
    let ended = tokio::select! {
        ended = pass(&mut from, to, mood.clone()) => ended,
        _orphaned = mood.wait_for(|mood| *mood == Mood::Orphaned) => Ok(()),
    };
    // Whoever has left may have left something to be delivered.
    if !matches!(*mood.borrow(), Mood::Held | Mood::Orphaned | Mood::Late) {
        return ended;
    }
    copy(&mut from, &mut sink()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio::time::timeout;

    use super::*;

    /// A statement with so many parameters, as far as anybody looks.
    fn bind(parameters: u8) -> Vec<u8> {
        [&b"B\0\0\0\x10\0s1\0\0\x01\0\x01"[..], &[0, parameters]].concat()
    }

    #[test]
    fn what_may_write_is_told_from_what_asks() {
        assert!(may_write(&bind(1)) && may_write(b"Q\0\0\0\x0bCOMMIT\0"));
        let ask = [
            &bind(0)[..],
            b"S\0\0\0\x04",
            b"Q\0\0\0\x0aBEGIN\0",
            b"P\0\0\0\x10s1\0insert",
            b"\0\0\0\x08",
            b"B",
        ];
        assert!(!ask.into_iter().any(may_write));
    }

    #[tokio::test]
    async fn what_was_held_arrives_after_its_sender_was_cut_off() {
        let (mood, moods) = watch::channel(Mood::Open);
        let (mut sender, from_sender) = duplex(64);
        let (to_server, mut server) = duplex(1 << 10);
        let carried = tokio::spawn(messages(from_sender, to_server, moods));
        let mut arrived = vec![0; bind(1).len()];
        sender.write_all(&bind(1)).await.expect("sent");
        server.read_exact(&mut arrived).await.expect("at once");

        mood.send_replace(Mood::Held);
        sender.write_all(&bind(0)).await.expect("sent");
        server.read_exact(&mut arrived).await.expect("at once: it only asks");
        sender.write_all(&bind(2)).await.expect("sent");
        // More than lies between: now the statement is kept.
        sender.write_all(&[b'c'; 64]).await.expect("sent");
        mood.send_replace(Mood::Orphaned);
        assert_eq!(sender.read(&mut [0; 1]).await.expect("closed"), 0);
        let early = timeout(Duration::from_millis(20), server.read_u8()).await;
        assert!(early.is_err(), "it arrived too early");
        mood.send_replace(Mood::Late);
        server.read_exact(&mut arrived).await.expect("late");
        assert_eq!(arrived, bind(2));
        drop(server);
        carried.abort();
    }
}
