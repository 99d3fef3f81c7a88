//! Outbound HTTP of a guest: asked for through `wasi:http`, checked here, sent by [`send`].
//!
//! A request has to be covered by a rule of the plugin's grants and, where the host has a ceiling, by one of that.
//! Then its server's name is resolved once, the addresses are checked, and the connection goes to one that was
//! checked: a name that means another machine a moment later gains nothing. No redirect is followed; a guest that
//! follows one by itself makes a new request, and that is checked anew.

mod body;
mod names;
mod send;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use hyper::Request;
use hyper::header::{HeaderMap, HeaderValue};
use tokio_rustls::rustls;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpHooks};

use super::grants::HttpRule;
use super::grants::address::{Reach, reach};
use super::grants::origin::{Origin, Target};
use super::result::{REASON_BYTES_MAX, cut};
use super::{HostCalls, Limits, Stop};
pub use names::Names;
use names::Share;

/// The longest name of a method, in bytes.
const METHOD_BYTES_MAX: usize = 32;
// What a guest's handles hold is memory of the host's, and `memory_bytes_max` does not count it.
/// One write to a body, in bytes.
const CHUNK_BYTES_MAX: usize = 16 << 10;
/// The headers of one message that a guest makes, in bytes.
const FIELDS_BYTES_MAX: usize = 16 << 10;
/// What one plugin may ask of which servers. Made when it is loaded, shared by its attempts.
#[derive(Clone)]
pub(super) struct Http {
    rules: Vec<HttpRule>,
    ceiling: Option<Vec<HttpRule>>,
    secrets: Vec<Secret>,
    tls: Arc<rustls::ClientConfig>,
    names: Names,
    lookups: Share,
}

/// A value that the guest never sees, and what it sees instead.
#[derive(Clone)]
pub(super) struct Secret {
    placeholder: String,
    value: String,
    origins: Vec<Origin>,
}

impl Secret {
    pub(super) fn new(value: String, origins: Vec<Origin>) -> Result<Self, String> {
        if value.is_empty() || HeaderValue::from_str(&value).is_err() {
            return Err("it is empty or no header can hold it".to_owned());
        }
        let placeholder = format!("hostler-secret-{}", uuid::Uuid::now_v7().simple());
        Ok(Self { placeholder, value, origins })
    }

    pub(super) fn placeholder(&self) -> &str {
        &self.placeholder
    }
}

impl Http {
    /// # Errors
    /// This machine's certificates cannot be used, in words.
    pub(super) fn new(
        rules: Vec<HttpRule>,
        ceiling: Option<Vec<HttpRule>>,
        secrets: Vec<Secret>,
    ) -> Result<Self, String> {
        static TLS: LazyLock<Result<Arc<rustls::ClientConfig>, String>> = LazyLock::new(tls);
        let (names, lookups) = (Names::default(), Share::of_plugin());
        Ok(Self { rules, ceiling, secrets, tls: TLS.clone()?, names, lookups })
    }

    /// The same, with names looked up elsewhere.
    pub(in crate::sandbox) fn with_names(&self, names: &Names) -> Self {
        Self { names: names.clone(), ..self.clone() }
    }

    /// Whether such a request is allowed; if so, whether the server's address may be private.
    fn permit(&self, target: &Target, method: &str) -> Result<Permit, String> {
        let find = |rules: &[HttpRule]| {
            let covering = || rules.iter().filter(|rule| rule.covers(target, method));
            let private: Vec<HttpRule> = covering().filter(|rule| rule.private).cloned().collect();
            covering().next().map(|_| Permit {
                private: !private.is_empty(),
                named: private.iter().find_map(|rule| rule.origin.address()),
            })
        };
        if method.len() > METHOD_BYTES_MAX {
            return Err(format!("a method of {} bytes cannot be granted", method.len()));
        }
        if method == "CONNECT" {
            return Err(format!("CONNECT {target} is a tunnel to anywhere and cannot be granted"));
        }
        let granted = find(&self.rules).ok_or_else(|| {
            format!(
                "{method} {target} is not granted: add [[http]] with origin = \"{target}\" and methods = [\"{method}\"]"
            )
        })?;
        let Some(ceiling) = &self.ceiling else { return Ok(granted) };
        let most = find(ceiling)
            .ok_or_else(|| format!("{method} {target} is beyond the ceiling of this host's [grants]"))?;
        Ok(Permit {
            private: granted.private && most.private,
            named: granted.named.filter(|_| most.named == granted.named),
        })
    }

    /// Puts the values of secrets in the place of their placeholders, where this server gets to see them.
    fn reveal(&self, target: &Target, headers: &mut HeaderMap) {
        let meant = |secret: &&Secret| secret.origins.iter().any(|origin| origin.covers(target));
        for secret in self.secrets.iter().filter(meant) {
            for value in headers.values_mut() {
                let Some(text) = value.to_str().ok().filter(|text| text.contains(&secret.placeholder)) else {
                    continue;
                };
                if let Ok(mut revealed) =
                    HeaderValue::from_str(&text.replace(&secret.placeholder, &secret.value))
                {
                    revealed.set_sensitive(true);
                    *value = revealed;
                }
            }
        }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("rules", &self.rules)
            .field("secrets", &self.secrets.len())
            .finish_non_exhaustive()
    }
}

/// What a rule allows beyond the public internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Permit {
    private: bool,
    /// The one address that its operator spelt out.
    named: Option<IpAddr>,
}

impl Permit {
    fn covers(self, address: IpAddr) -> bool {
        match reach(address) {
            Reach::Public => true,
            Reach::Private => self.private,
            Reach::Special => self.named == Some(address),
        }
    }
}

/// One attempt's requests.
pub(super) struct Requests {
    pub(super) ctx: WasiHttpCtx,
    pub(super) hooks: Hooks,
}

pub(super) struct Hooks {
    http: Option<Arc<Http>>,
    limits: Limits,
    sent: u64,
    lookups: Share,
    denied: Denied,
    asked: Asked,
}

/// Whom to ask, before a request leaves, whether the attempt is still this host's.
#[derive(Clone, Default)]
pub(in crate::sandbox) struct Asked {
    pub(in crate::sandbox) host: Option<Arc<dyn HostCalls>>,
    pub(in crate::sandbox) stop: Stop,
}

impl Asked {
    /// Returns if it is. Else the attempt ends here, and this never returns: an error would be the guest's to
    /// handle, and it might go on.
    pub(in crate::sandbox) async fn may_act(&self) {
        if self.host.as_ref().is_some_and(|host| !host.may_act()) {
            self.stop.interrupt("the host's lease ran out before a call could leave");
            std::future::pending::<()>().await;
        }
    }
}

/// The first request that was refused, for whoever asks what became of the attempt.
#[derive(Clone, Default)]
pub(in crate::sandbox) struct Denied(Arc<Mutex<Option<String>>>);

impl Denied {
    pub(in crate::sandbox) fn first(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::sandbox) fn tell(&self, what: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| cut(what, REASON_BYTES_MAX));
    }
}

impl Requests {
    /// Without grants every request is refused.
    pub(super) fn new(http: Option<Arc<Http>>, limits: &Limits, asked: Asked) -> Self {
        let hooks = Hooks {
            http,
            limits: *limits,
            sent: 0,
            lookups: Share::of_attempt(),
            denied: Denied::default(),
            asked,
        };
        let mut ctx = WasiHttpCtx::new();
        ctx.set_field_size_limit(FIELDS_BYTES_MAX);
        Self { ctx, hooks }
    }

    pub(super) fn denied(&self) -> Option<String> {
        self.hooks.denied.first()
    }
}

type Sent = Result<(hyper::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let denied = self.denied.clone();
        let refuse = |what: String, error: Error| -> Box<dyn Future<Output = Sent> + Send> {
            denied.tell(what);
            Box::new(std::future::ready(Err(error)))
        };
        let Some(http) = self.http.clone() else {
            return refuse("outbound HTTP is not granted".to_owned(), Error::HttpRequestDenied);
        };
        if self.sent >= self.limits.http_requests_max {
            let what =
                format!("more than {} HTTP requests (http_requests_max)", self.limits.http_requests_max);
            return refuse(what, Error::HttpRequestDenied);
        }
        let checked = Target::of(request.uri())
            .and_then(|target| Ok((http.permit(&target, request.method().as_str())?, target)));
        let (permit, target) = match checked {
            Ok(checked) => checked,
            Err(what) => return refuse(what, Error::HttpRequestDenied),
        };
        self.sent += 1;
        http.reveal(&target, request.headers_mut());
        let sending = send::Sending {
            http,
            target,
            permit,
            lookups: self.lookups.clone(),
            denied: self.denied.clone(),
            asked: self.asked.clone(),
            connect: shorter(options.and_then(|o| o.connect_timeout), self.limits.http_connect_ms_max),
            first_byte: shorter(options.and_then(|o| o.first_byte_timeout), self.limits.http_read_ms_max),
            between_bytes: shorter(
                options.and_then(|o| o.between_bytes_timeout),
                self.limits.http_read_ms_max,
            ),
            body_bytes_max: self.limits.http_body_bytes_max,
        };
        Box::new(sending.send(request))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES_MAX
    }

    // The stock hooks log a warning for each: a guest could fill the host's log with them.
    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        tracing::debug!(%error, "a guest's HTTP request failed");
        ErrorCode::HttpProtocolError
    }

    fn p2_error_from_connect(&mut self, error: &io::Error) -> ErrorCode {
        tracing::debug!(%error, "a guest's HTTP request found no server");
        ErrorCode::ConnectionRefused
    }

    fn p2_error_from_tls(&mut self, error: &io::Error) -> ErrorCode {
        tracing::debug!(%error, "a guest's HTTP request found no TLS");
        ErrorCode::TlsProtocolError
    }
}

/// What the guest wants, but not more than the limit. Nothing at all would be over before it began.
fn shorter(wanted: Option<Duration>, max_ms: u64) -> Duration {
    let max = Duration::from_millis(max_ms);
    wanted.map_or(max, |wanted| wanted.min(max)).max(Duration::from_millis(1))
}

fn tls() -> Result<Arc<rustls::ClientConfig>, String> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (_, ignored) = roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!(ignored, "this machine has no certificate authorities: no guest can speak https");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A session that one plugin began is not for another to go on with.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::super::grants::GrantsFile;
    use super::*;

    fn rules(text: &str) -> Vec<HttpRule> {
        GrantsFile::parse(text).expect("grants").http
    }

    fn target(uri: &str) -> Target {
        Target::of(&uri.parse().expect("a URI")).expect("a target")
    }

    #[test]
    fn grant_and_ceiling_both_have_to_allow() {
        let grant = rules(
            "[[http]]\norigin = \"https://*.example.com\"\nmethods = [\"GET\", \"PUT\"]\n\
             [[http]]\norigin = \"http://127.0.0.1:1\"\nprivate = true\n\
             [[http]]\norigin = \"http://169.254.169.254\"\nprivate = true\n",
        );
        let ceiling = rules(
            "[[http]]\norigin = \"https://a.example.com\"\n[[http]]\norigin = \"http://127.0.0.1:1\"\n",
        );
        let alone = Http::new(grant.clone(), None, Vec::new()).expect("HTTP");
        let under = Http::new(grant, Some(ceiling), Vec::new()).expect("HTTP");
        let [a, b] = ["https://a.example.com/", "https://b.example.com/"].map(target);
        assert!(alone.permit(&a, "PUT").is_ok() && alone.permit(&b, "GET").is_ok());
        assert!(under.permit(&a, "GET").is_ok());
        assert!(under.permit(&a, "PUT").is_err() && under.permit(&b, "GET").is_err());
        let told = alone.permit(&a, "POST").expect_err("not granted");
        assert!(told.contains("origin = \"https://a.example.com\"") && told.contains("POST"), "{told}");

        let [public, loopback, metadata] =
            ["1.1.1.1", "127.0.0.1", "169.254.169.254"].map(|ip| ip.parse::<IpAddr>().expect("an address"));
        let local = alone.permit(&target("http://127.0.0.1:1/"), "GET").expect("granted");
        assert!(local.covers(loopback) && !local.covers(metadata));
        let named = alone.permit(&target("http://169.254.169.254/"), "GET").expect("granted");
        assert!(named.covers(metadata), "spelt out");
        let open = alone.permit(&a, "GET").expect("granted");
        assert!(open.covers(public) && !open.covers(loopback) && !open.covers(metadata));
        let capped = under.permit(&target("http://127.0.0.1:1/"), "GET").expect("granted");
        assert!(!capped.covers(loopback), "the ceiling allows no private address");
    }

    #[test]
    fn what_a_guest_says_is_cut() {
        let open = rules("[[http]]\norigin = \"https://a.example\"");
        let http = Http::new(open, None, Vec::new()).expect("HTTP");
        let told = http.permit(&target("https://a.example/"), &"X".repeat(33)).expect_err("no method");
        assert!(told.contains("33 bytes"), "{told}");
        let denied = Denied::default();
        denied
            .tell(http.permit(&target(&format!("https://{}", "a".repeat(9000))), "GET").expect_err("denied"));
        assert!(denied.first().is_some_and(|told| told.len() <= REASON_BYTES_MAX));
    }

    #[test]
    fn handles_hold_little_memory_of_the_host() {
        use wasmtime_wasi_http::WasiHttpCtxView;
        use wasmtime_wasi_http::p2::bindings::http::types::HostFields;

        let mut requests = Requests::new(None, &Limits::DEFAULT, Asked::default());
        assert_eq!(requests.hooks.p2_outgoing_body_chunk_size(), CHUNK_BYTES_MAX);
        let mut table = wasmtime::component::ResourceTable::new();
        let mut view =
            WasiHttpCtxView { hooks: &mut requests.hooks, table: &mut table, ctx: &mut requests.ctx };
        let mut fields = |bytes| view.from_list(vec![("x".to_owned(), vec![b'x'; bytes])]);
        assert!(fields(FIELDS_BYTES_MAX / 2).is_ok() && fields(FIELDS_BYTES_MAX).is_err());
    }

    #[test]
    fn a_secret_goes_to_its_own_servers_alone() {
        let origin = Origin::parse("https://a.example.com").expect("an origin");
        let secret = Secret::new("s3cret".to_owned(), vec![origin]).expect("a secret");
        let placeholder = secret.placeholder().to_owned();
        let http = Http::new(Vec::new(), None, vec![secret]).expect("HTTP");
        let seen = |uri: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", format!("Bearer {placeholder}").parse().expect("a value"));
            http.reveal(&target(uri), &mut headers);
            headers["authorization"].to_str().expect("text").to_owned()
        };
        assert_eq!(seen("https://a.example.com/x"), "Bearer s3cret");
        for other in ["http://a.example.com/", "https://a.example.com:444/", "https://b.example.com/"] {
            assert_eq!(seen(other), format!("Bearer {placeholder}"), "{other}");
        }
    }
}
