//! Small writes over TCP must not wait for the answer to the write before.

use std::io::Read;
use std::mem::{size_of, zeroed};
use std::net::TcpListener;
use std::os::fd::RawFd;

use hostler::store::{Connect, Role};

/// The option is set before the first byte of the protocol, so a listener that says nothing is server enough.
#[tokio::test]
async fn a_tcp_connection_sends_at_once() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("an address").port();
    let connect =
        Connect::parse(&format!("postgres://me@127.0.0.1:{port}/db?sslmode=disable")).expect("a URL");
    let connecting = tokio::spawn(async move { hostler::store::conn(&connect, Role::Hot).await.map(drop) });
    let accept = tokio::task::spawn_blocking(move || {
        let (mut stream, peer) = server.accept().expect("a connection");
        // The startup packet arrives after everything that is set on the socket.
        stream.read_exact(&mut [0_u8; 4]).expect("the startup packet");
        (stream, peer)
    });
    let (_open, peer) = accept.await.expect("accepted");
    let fd = (0..4096).find(|fd| local_port(*fd) == Some(peer.port())).expect("our end of the connection");
    assert_eq!(option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY), 1);
    connecting.abort();
}

fn local_port(fd: RawFd) -> Option<u16> {
    // SAFETY: the address is plain data, and its size is told.
    unsafe {
        let mut address: libc::sockaddr_in = zeroed();
        let mut length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        let told = libc::getsockname(fd, (&raw mut address).cast(), &raw mut length);
        (told == 0 && i32::from(address.sin_family) == libc::AF_INET).then(|| u16::from_be(address.sin_port))
    }
}

fn option(fd: RawFd, level: i32, name: i32) -> i32 {
    let mut value = 0_i32;
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the value is an integer, and its size is told.
    let told = unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut length) };
    assert_eq!(told, 0, "a socket");
    value
}
