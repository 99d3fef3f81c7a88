//! Sends one request that was checked, to an address that is checked.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Request;
use hyper::client::conn::http1;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, WasiBody};

use super::body::{Bounded, Direction};
use super::{Asked, Denied, Http, Permit, Sent, Share, Target};

/// What a connection holds of what was not read or sent yet, in bytes, each way; a response's head fits in.
const BUFFER_BYTES_MAX: usize = 64 << 10;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) struct Sending {
    pub(super) http: Arc<Http>,
    pub(super) target: Target,
    pub(super) permit: Permit,
    /// The attempt's.
    pub(super) lookups: Share,
    pub(super) denied: Denied,
    pub(super) asked: Asked,
    pub(super) connect: Duration,
    pub(super) first_byte: Duration,
    pub(super) between_bytes: Duration,
    pub(super) body_bytes_max: u64,
}

impl Sending {
    /// Gives the response and the future that drives the connection. Dropping either closes it.
    pub(super) async fn send(self, request: Request<WasiBody>) -> Sent {
        let stream = timeout(self.connect, self.open()).await.map_err(|_| Error::ConnectionTimeout)??;
        let mut http = http1::Builder::new();
        http.max_buf_size(BUFFER_BYTES_MAX);
        let (mut sender, connection) = timeout(self.connect, http.handshake(TokioIo::new(stream)))
            .await
            .map_err(|_| Error::ConnectionTimeout)??;
        let bounded = |direction| {
            let (max, pause, denied) = (self.body_bytes_max, self.between_bytes, self.denied.clone());
            (direction, max, pause, denied)
        };
        let (direction, max, pause, denied) = bounded(Direction::Request);
        let (mut head, body) = request.into_parts();
        // Only a proxy gets the whole URI.
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let slash = if path.starts_with('?') { "/" } else { "" };
        head.uri = format!("{slash}{path}").parse().map_err(|_| Error::HttpRequestUriInvalid)?;
        let request = Request::from_parts(head, Bounded::new(body, direction, max, pause, denied));

        self.asked.may_act().await;
        let mut connection = Some(Box::pin(connection));
        let response = async {
            let answer = sender.send_request(request);
            tokio::pin!(answer);
            if let Some(driven) = &mut connection {
                tokio::select! {
                    biased;
                    answer = &mut answer => return answer,
                    done = driven => done?,
                }
            }
            // The connection ended before its answer was seen; the answer knows why. It is not to be polled again.
            connection = None;
            answer.await
        };
        let response = timeout(self.first_byte, response)
            .await
            .map_err(|_| Error::ConnectionReadTimeout)?
            .map_err(cause)?;
        let (direction, max, pause, denied) = bounded(Direction::Response);
        let response = response.map(|body| Bounded::new(body, direction, max, pause, denied).boxed_unsync());
        Ok((
            response,
            Box::new(async move {
                // Whoever reads the body gets the error there; from here it would only be logged as a warning.
                if let Some(connection) = connection
                    && let Err(error) = connection.await
                {
                    tracing::debug!(%error, "a guest's connection broke off");
                }
                Ok(())
            }),
        ))
    }

    async fn open(&self) -> Result<Box<dyn Stream>, Error> {
        let stream = self.connect_checked().await?;
        stream.set_nodelay(true).map_err(Error::Connect)?;
        if !self.target.https {
            return Ok(Box::new(stream));
        }
        let name = match self.target.host.parse::<IpAddr>() {
            Ok(address) => ServerName::from(address),
            Err(_) => {
                ServerName::try_from(self.target.host.clone()).map_err(|_| Error::HttpRequestUriInvalid)?
            }
        };
        let tls = TlsConnector::from(self.http.tls.clone());
        Ok(Box::new(tls.connect(name, stream).await.map_err(Error::Tls)?))
    }

    /// Resolves once, and connects to what it checked.
    async fn connect_checked(&self) -> Result<TcpStream, Error> {
        let Target { host, port, .. } = &self.target;
        let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, *port)],
            Err(_) => {
                let shares = [&self.lookups, &self.http.lookups];
                self.http.names.look_up(host, *port, shares).await.map_err(|error| {
                    tracing::debug!(host, %error, "a guest's HTTP request names no server");
                    Error::DnsError { rcode: None, info_code: None }
                })?
            }
        };
        let (allowed, refused): (Vec<SocketAddr>, Vec<SocketAddr>) =
            found.into_iter().partition(|address| self.permit.covers(address.ip()));
        if let (true, Some(address)) = (allowed.is_empty(), refused.first()) {
            return Err(self.not_public(address.ip()));
        }
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in allowed {
            match TcpStream::connect(address).await {
                Ok(stream) if self.permit.private || !leads_back(&stream).map_err(Error::Connect)? => {
                    return Ok(stream);
                }
                // Before a byte was sent.
                Ok(_) => return Err(self.not_public(address.ip())),
                Err(error) => last = error,
            }
        }
        Err(Error::Connect(last))
    }

    fn not_public(&self, address: IpAddr) -> Error {
        let target = &self.target;
        self.denied.tell(format!(
            "{target} is at {address}, which is not public: a [[http]] that names it with private = true would allow it"
        ));
        Error::DestinationIpProhibited
    }
}

/// Whether it goes to this machine itself, be it by its public address: what listens there may trust its neighbours.
fn leads_back(stream: &TcpStream) -> io::Result<bool> {
    Ok(stream.local_addr()?.ip() == stream.peer_addr()?.ip())
}

/// A body that was refused on the way out fails the request; the guest is told which limit it was.
fn cause(error: hyper::Error) -> Error {
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Error>());
    match source {
        Some(Error::HttpRequestBodySize(max)) => Error::HttpRequestBodySize(*max),
        _ => Error::from(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::super::Limits;
    use super::super::super::grants::GrantsFile;
    use super::super::{Names, Requests};
    use super::*;

    /// Answers one request and tells what it read of it.
    async fn serve(listener: TcpListener) -> String {
        let (mut stream, _) = listener.accept().await.expect("a guest");
        let mut head = vec![0; 4096];
        let size = stream.read(&mut head).await.expect("a request");
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.expect("answered");
        String::from_utf8_lossy(&head[..size]).into_owned()
    }

    fn requests(rules: &str, names: Option<Names>) -> Requests {
        let mut http =
            Http::new(GrantsFile::parse(rules).expect("grants").http, None, Vec::new()).expect("HTTP");
        http.names = names.unwrap_or_default();
        Requests::new(Some(Arc::new(http)), &Limits::DEFAULT, Asked::default())
    }

    async fn get(requests: &mut Requests, uri: &str) -> Result<String, Error> {
        use wasmtime_wasi_http::WasiHttpHooks;

        let empty = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = Request::get(uri).header("host", "x").body(empty).expect("a request");
        let sent = requests.hooks.send_request(request, None, Box::new(std::future::ready(Ok(()))));
        let (response, driver) = Box::into_pin(sent).await?;
        let driver = Box::into_pin(driver);
        let read = response.into_body().collect();
        let (body, _) = tokio::join!(read, driver);
        Ok(String::from_utf8_lossy(&body?.to_bytes()).into_owned())
    }

    #[tokio::test]
    async fn a_name_that_moves_after_the_check_gains_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a server");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let tell = asked.clone();
        // Loopback, which is allowed; whoever asks again would get what is not.
        let names = Names::new(move |host, port| {
            let mut asked = tell.lock().expect("unpoisoned");
            asked.push(host.to_owned());
            let first: SocketAddr = format!("127.0.0.1:{port}").parse().expect("an address");
            let later: SocketAddr = format!("169.254.169.254:{port}").parse().expect("an address");
            let answer = if asked.len() == 1 { first } else { later };
            Ok(vec![answer])
        });
        let rules = format!("[[http]]\norigin = \"http://moving.example:{port}\"\nprivate = true");
        let mut requests = requests(&rules, Some(names));
        let uri = format!("http://moving.example:{port}/a?b");
        let (body, head) = tokio::join!(get(&mut requests, &uri), serve(listener));
        assert_eq!(body.expect("answered"), "hi");
        assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
        assert_eq!(asked.lock().expect("unpoisoned").len(), 1, "the name is resolved once");

        let moved = get(&mut requests, &uri).await;
        assert!(matches!(moved, Err(Error::DestinationIpProhibited)), "{moved:?}");
        let told = requests.denied().expect("told");
        assert!(told.contains("169.254.169.254"), "{told}");
    }

    #[tokio::test]
    async fn a_name_for_this_machine_is_refused_unless_it_is_granted_as_private() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a server");
        let port = listener.local_addr().expect("an address").port();
        let rules = |host: &str| format!("[[http]]\norigin = \"http://{host}:{port}\"\n");
        for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "169.254.169.254"] {
            let mut requests = requests(&rules(host), None);
            let refused = get(&mut requests, &format!("http://{host}:{port}/")).await;
            assert!(matches!(refused, Err(Error::DestinationIpProhibited)), "{host}: {refused:?}");
            assert!(requests.denied().is_some(), "{host}");
        }
        let mut wild = requests(&format!("[[http]]\norigin = \"http://*:{port}\"\n"), None);
        let refused = get(&mut wild, &format!("http://2130706433:{port}/")).await;
        assert!(refused.is_err(), "a number is a name like any other: {refused:?}");
        let uri = format!("http://127.0.0.1:{port}/");
        let mut granted = requests(&format!("{}private = true", rules("127.0.0.1")), None);
        let (body, _) = tokio::join!(get(&mut granted, &uri), serve(listener));
        assert_eq!(body.expect("granted"), "hi");
    }

    #[tokio::test]
    async fn a_query_without_a_path_is_asked_of_the_root() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a server");
        let address = listener.local_addr().expect("an address");
        let rules = format!("[[http]]\norigin = \"http://{address}\"\nprivate = true");
        let mut requests = requests(&rules, None);
        let uri = format!("http://{address}?b");
        let (body, head) = tokio::join!(get(&mut requests, &uri), serve(listener));
        assert_eq!(body.expect("answered"), "hi");
        assert!(head.starts_with("GET /?b HTTP/1.1\r\n"), "{head}");
    }

    #[tokio::test]
    async fn a_connection_to_this_very_machine_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a server");
        let address = listener.local_addr().expect("an address");
        let back = TcpStream::connect(address).await.expect("connected");
        assert!(leads_back(&back).expect("addresses"));
    }
}
