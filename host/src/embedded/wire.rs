//! Just enough of PostgreSQL's protocol to ask whether a server serves, and which process it is.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::place::Place;

/// A server that has accepted a connection and is silent for so long is not serving.
const PATIENCE: Duration = Duration::from_secs(2);

/// `cannot_connect_now`: starting, recovering or shutting down.
const NOT_NOW: &[u8] = b"57P03";

/// What came back on the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It serves.
    Ready,
    /// It lives, and says that it cannot serve yet or any more.
    NotNow,
    /// Nobody listens, or nothing sensible was said.
    Nothing,
}

/// Asks for a session, as a client would: that a socket accepts does not mean that the server behind it serves.
pub(super) fn ask(place: &Place) -> Answer {
    asked(place).unwrap_or(Answer::Nothing)
}

/// The process that listens on the socket, if this system tells and the process can be seen from here.
///
/// Asked of the kernel, because `postmaster.pid` is a file that may be stale, and a signal must not go astray.
pub(super) fn listener_pid(place: &Place) -> Option<i32> {
    let stream = UnixStream::connect(place.socket()).ok()?;
    peer_pid(&stream).filter(|pid| *pid > 1)
}

fn asked(place: &Place) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(place.socket())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&startup_message())?;

    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    match kind[0] {
        b'R' => {
            // Say good-bye and hear it out: a client that just hangs up is a complaint in the server's log.
            // Whether that works changes nothing about the answer.
            let _ =
                stream.write_all(&[b'X', 0, 0, 0, 4]).and_then(|()| io::copy(&mut stream, &mut io::sink()));
            Ok(Answer::Ready)
        }
        b'E' => {
            let mut error = Vec::new();
            stream.read_to_end(&mut error)?;
            Ok(refusal(&error))
        }
        _ => Ok(Answer::Nothing),
    }
}

/// Protocol 3.0, user and database `postgres`.
fn startup_message() -> Vec<u8> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    body.extend_from_slice(b"user\0postgres\0database\0postgres\0\0");
    let length = u32::try_from(body.len() + 4).expect("a constant, short message");
    [length.to_be_bytes().to_vec(), body].concat()
}

/// A refusal other than "not now" (too many clients, for one) comes from a server that serves.
fn refusal(error: &[u8]) -> Answer {
    let fields = error.get(4..).unwrap_or_default().split(|byte| *byte == 0);
    let not_now = |field: &[u8]| field.strip_prefix(b"C") == Some(NOT_NOW);
    match fields.into_iter().any(not_now) {
        true => Answer::NotNow,
        false => Answer::Ready,
    }
}

#[cfg(target_os = "linux")]
fn peer_pid(stream: &UnixStream) -> Option<i32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).ok()?;
    // SAFETY: the buffer is a ucred and the length is its size.
    let code = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &mut length,
        )
    };
    (code == 0).then_some(peer.pid)
}

#[cfg(target_os = "macos")]
fn peer_pid(stream: &UnixStream) -> Option<i32> {
    let mut pid: libc::pid_t = 0;
    let mut length = libc::socklen_t::try_from(size_of::<libc::pid_t>()).ok()?;
    // SAFETY: the buffer is a pid_t and the length is its size.
    let code = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_LOCAL,
            libc::LOCAL_PEERPID,
            (&raw mut pid).cast(),
            &mut length,
        )
    };
    (code == 0).then_some(pid)
}
