//! A guest that reaches for the network.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hostler::sandbox::{Limits, Names, Plugin, Sandbox, SandboxConfig, Stop};
use hostler::task::{Outcome, Report};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, RwLock};
use tokio::task::JoinHandle;

use super::{LONG, bytes, call, misbehave, run, sandbox, timeout};

/// A server on loopback. It reads each request's head, or its body too, and gives the same answer to each.
async fn server(answer: String) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a server");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(async move {
        let mut heads = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 8192];
            let size = stream.read(&mut head).await.unwrap_or(0);
            heads.push(String::from_utf8_lossy(&head[..size]).into_owned());
            let _gone = stream.write_all(answer.as_bytes()).await;
            if heads.last().is_some_and(|head| head.contains("/last")) {
                break;
            }
        }
        heads
    });
    (address, serving)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

async fn granted(grants: &str) -> Arc<Plugin> {
    let plugin = sandbox().load_granted("misbehave", bytes("misbehave"), Some(grants)).await;
    Arc::new(plugin.expect("granted"))
}

async fn fetch_with(plugin: &Arc<Plugin>, args: &str, limit: impl FnOnce(&mut Limits)) -> Report {
    let mut call = call("fetch", args);
    limit(&mut call.limits);
    run(&sandbox(), plugin, call).await
}

async fn fetch(plugin: &Arc<Plugin>, args: &str) -> Report {
    fetch_with(plugin, args, |_| {}).await
}

fn denied(report: &Report) -> &str {
    match &report.outcome {
        Outcome::Denied(what) => what,
        other => panic!("not denied: {other:?}"),
    }
}

fn private(address: SocketAddr) -> String {
    format!("[[http]]\norigin = \"http://{address}\"\nmethods = [\"GET\", \"POST\"]\nprivate = true\n")
}

#[tokio::test]
async fn without_a_grant_there_is_no_network() {
    let report = misbehave(call("fetch", r#"{"url": "http://127.0.0.1:1/"}"#)).await;
    assert!(denied(&report).contains("wasi:http"), "{report:?}");
    let notes = super::misbehaving().await.notes().join("\n");
    assert!(notes.contains("[[http]]") && notes.contains("misbehave.toml"), "told at load: {notes}");
}

#[tokio::test]
async fn a_granted_server_is_asked_and_gets_the_secret() {
    let (address, serving) = server(ok("hello")).await;
    let dir = tempfile::tempdir().expect("directory");
    let secret = dir.path().join("token");
    std::fs::write(&secret, "Bearer s3cret\n").expect("written");
    let secret = format!("[secrets.TOKEN]\nfile = {secret:?}\norigins = [\"http://{address}\"]\n");
    let plugin = granted(&(private(address) + &secret)).await;
    let seen = run(&sandbox(), &plugin, call("variable", r#"{"path": "TOKEN"}"#)).await;
    let Outcome::Returned(seen) = seen.outcome else { panic!("{seen:?}") };
    assert!(String::from_utf8_lossy(&seen).contains("hostler-secret-"), "a placeholder");

    let report = fetch(&plugin, &format!(r#"{{"url": "http://{address}/last", "token": "TOKEN"}}"#)).await;
    assert_eq!(report.outcome, Outcome::Returned(br#"{"status":200,"bytes":5}"#.to_vec()));
    let heads = serving.await.expect("served");
    assert!(heads[0].contains("authorization: Bearer s3cret"), "{heads:?}");
    assert!(!report.log_tail.contains("s3cret"), "{}", report.log_tail);
}

#[tokio::test]
async fn another_server_or_method_is_denied_with_the_line_to_add() {
    let (address, serving) = server(ok("")).await;
    let plugin = granted(&private(address)).await;
    for (args, words) in [
        (r#"{"url": "https://example.com/x"}"#.to_owned(), r#"origin = "https://example.com""#),
        (format!(r#"{{"url": "http://{address}/", "method": "DELETE"}}"#), r#"methods = ["DELETE"]"#),
        (format!(r#"{{"url": "http://{address}/", "method": "CONNECT"}}"#), "CONNECT"),
        (format!(r#"{{"url": "http://good@{address}/"}}"#), "names a user"),
    ] {
        let report = fetch(&plugin, &args).await;
        assert!(denied(&report).contains(words), "{args}: {report:?}");
    }
    serving.abort();
    assert!(serving.await.is_err(), "nobody came");
}

#[tokio::test]
async fn this_machine_and_its_neighbours_are_denied_unless_named() {
    let (address, serving) = server(ok("")).await;
    let port = address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
    ] {
        let plugin = granted(&format!("[[http]]\norigin = \"http://{host}:{port}\"")).await;
        let report = fetch(&plugin, &format!(r#"{{"url": "http://{host}:{port}/"}}"#)).await;
        assert!(denied(&report).contains("not public"), "{host}: {report:?}");
    }
    serving.abort();
    assert!(serving.await.is_err(), "nobody came");
}

/// A sandbox in which the n-th look-up of any name gives the n-th of these addresses, and each further one the last.
fn moving(answers: Vec<Vec<&'static str>>) -> (Arc<Sandbox>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let names = Names::new(move |_, port| {
        let nth = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        Ok(answers[nth].iter().map(|ip| SocketAddr::new(ip.parse().expect("an address"), port)).collect())
    });
    let config = SandboxConfig { slots: 2, threads: 1, names: Some(names), ..SandboxConfig::default() };
    (Sandbox::start(config).expect("a sandbox"), asked)
}

#[tokio::test]
async fn a_guest_whose_name_moves_reaches_only_what_was_checked() {
    let (address, serving) = server(ok("hi")).await;
    let url = format!("http://moving.example:{}", address.port());
    let fetch = async |answers: Vec<Vec<&'static str>>, private: bool, path: &str, times: u32| {
        let (sandbox, asked) = moving(answers);
        let grants = format!("[[http]]\norigin = \"{url}\"\nprivate = {private}");
        let plugin = sandbox.load_granted("misbehave", bytes("misbehave"), Some(&grants)).await;
        let args = format!(r#"{{"url": "{url}{path}", "times": {times}}}"#);
        let plugin = Arc::new(plugin.expect("granted"));
        let report = run(&sandbox, &plugin, call("fetch", &args)).await;
        let neighbour = run(&sandbox, &plugin, call("noop", "{}")).await;
        assert_eq!(neighbour.outcome, Outcome::Returned(b"{}".to_vec()), "a neighbour finishes");
        assert_eq!(sandbox.held().map(|(places, _)| places), Some(0), "places and memory are given back");
        (report, asked.load(Ordering::SeqCst))
    };
    // As a public name of the guest's own that turns to this machine, to its network, to all of them at once.
    for answer in [
        vec!["127.0.0.1"],
        vec!["::1"],
        vec!["::ffff:127.0.0.1"],
        vec!["10.0.0.1", "127.0.0.1"],
        vec!["169.254.169.254", "127.0.0.1", "::1"],
    ] {
        let (report, asked) = fetch(vec![answer.clone()], false, "/", 1).await;
        assert!(denied(&report).contains("not public"), "{answer:?}: {report:?}");
        assert_eq!(asked, 1, "resolved once, so nothing can move between check and connection");
    }
    // Checked and answered once; then it moves to where no private name may lead.
    let moves = vec![vec!["127.0.0.1"], vec!["169.254.169.254"]];
    let (report, asked) = fetch(moves, true, "/", 2).await;
    assert!(denied(&report).contains("169.254.169.254"), "{report:?}");
    assert_eq!(asked, 2, "each request is checked anew");
    // Of several at once, only those that are allowed are tried.
    let (report, _) = fetch(vec![vec!["169.254.169.254", "127.0.0.1"]], true, "/last", 1).await;
    assert_eq!(report.outcome, Outcome::Returned(br#"{"status":200,"bytes":2}"#.to_vec()));
    let heads = serving.await.expect("served");
    assert_eq!(heads.len(), 2, "whoever was refused never connected: {heads:?}");
}

#[tokio::test]
async fn whoever_asks_for_names_that_are_never_found_keeps_no_neighbour_waiting() {
    let (address, serving) = server(ok("hi")).await;
    // Whoever holds the pen keeps the look-ups of the slow name going.
    let held = Arc::new(RwLock::new(()));
    let (slow, begun) = (held.clone(), Arc::new(AtomicUsize::new(0)));
    let count = begun.clone();
    let names = Names::new(move |host, port| {
        if host.ends_with(".slow.example") {
            count.fetch_add(1, Ordering::SeqCst);
            drop(slow.blocking_read());
        }
        Ok(vec![SocketAddr::new(address.ip(), port)])
    });
    let config = SandboxConfig { slots: 8, threads: 2, names: Some(names), ..SandboxConfig::default() };
    let sandbox = Sandbox::start(config).expect("a sandbox");
    let load = async |host: &str| {
        let grants = format!("[[http]]\norigin = \"http://{host}:{}\"\nprivate = true", address.port());
        let grants = if host.contains('*') { grants.replace("\nprivate = true", "") } else { grants };
        Arc::new(sandbox.load_granted("misbehave", bytes("misbehave"), Some(&grants)).await.expect("granted"))
    };
    let (greedy, neighbour) = (load("*.slow.example").await, load("neighbour.example").await);
    let pen = held.write().await;
    // More than there are look-ups for all, and each is given up at once.
    for number in 0..150 {
        let url = format!(r#"{{"url": "http://n{number}.slow.example:{}/"}}"#, address.port());
        let mut call = call("fetch", &url);
        call.limits.http_connect_ms_max = 1;
        let report = run(&sandbox, &greedy, call).await;
        assert!(matches!(report.outcome, Outcome::Failed(_)), "{report:?}");
    }
    assert!(begun.load(Ordering::SeqCst) > 0, "it asked");
    let url = format!(r#"{{"url": "http://neighbour.example:{}/last"}}"#, address.port());
    let report = run(&sandbox, &neighbour, call("fetch", &url)).await;
    assert_eq!(report.outcome, Outcome::Returned(br#"{"status":200,"bytes":2}"#.to_vec()));
    drop(pen);
    serving.await.expect("served");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let answer = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let (address, _serving) = server(answer.to_owned()).await;
    let report =
        fetch(&granted(&private(address)).await, &format!(r#"{{"url": "http://{address}/last"}}"#)).await;
    assert_eq!(report.outcome, Outcome::Returned(br#"{"status":302,"bytes":0}"#.to_vec()));
}

#[tokio::test]
async fn requests_and_bodies_have_limits() {
    let (address, _serving) = server(ok(&"x".repeat(5000))).await;
    let plugin = granted(&private(address)).await;
    let url = format!(r#""url": "http://{address}/""#);
    let report = fetch_with(&plugin, &format!(r#"{{{url}, "times": 4}}"#), |l| l.http_requests_max = 3).await;
    assert!(denied(&report).contains("more than 3 HTTP requests"), "{report:?}");
    let report = fetch_with(&plugin, &format!(r#"{{{url}}}"#), |l| l.http_body_bytes_max = 4999).await;
    assert!(denied(&report).contains("response has more than 4999 bytes"), "{report:?}");
    // One that never answers, so that the body is what ends the request.
    let (silent, serving, _) = hanging("").await;
    let large = format!(r#"{{"url": "http://{silent}/", "method": "POST", "body_bytes": 100000}}"#);
    let sender = granted(&private(silent)).await;
    let report = fetch_with(&sender, &large, |l| l.http_body_bytes_max = 50_000).await;
    assert!(denied(&report).contains("request has more than 50000 bytes"), "{report:?}");
    serving.abort();
    let report = fetch(&plugin, &format!(r#"{{{url}, "times": 3}}"#)).await;
    assert_eq!(report.outcome, Outcome::Returned(br#"{"status":200,"bytes":5000}"#.to_vec()));
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_never_outlasts_the_attempt() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"] {
        let (address, serving, _) = hanging(answer).await;
        let plugin = granted(&private(address)).await;
        let args = format!(r#"{{"url": "http://{address}/"}}"#);
        let report = fetch_with(&plugin, &args, |l| l.http_read_ms_max = 50).await;
        let Outcome::Failed(failure) = &report.outcome else { panic!("{report:?}") };
        assert_eq!(failure.code, "FETCH_FAILED", "{failure:?}");
        let report = fetch_with(&plugin, &args, |l| l.timeout_ms = 100).await;
        assert_eq!(report.outcome, Outcome::OutOfTime(100));
        // Both connections are closed: the server reads their ends.
        timeout(LONG, serving).await.expect("closed").expect("served");
    }
    let (address, serving, arrived) = hanging("").await;
    let plugin = granted(&private(address)).await;
    let stop = Stop::new();
    let call = hostler::sandbox::Call {
        stop: stop.clone(),
        ..call("fetch", &format!(r#"{{"url": "http://{address}/", "times": 2}}"#))
    };
    let (inner, plugin) = (sandbox(), plugin.clone());
    let running = sandbox().spawn(async move { inner.run(&plugin, call).await });
    timeout(LONG, arrived.notified()).await.expect("the guest waits for an answer");
    stop.cancel(Duration::from_millis(50));
    let report = timeout(LONG, running).await.expect("in time").expect("no panic").expect("in order");
    assert_eq!(report.outcome, Outcome::Cancelled);
    serving.abort();
}

#[tokio::test]
async fn a_server_that_takes_no_connection_is_given_up() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let full = socket.listen(0).expect("listening");
    let address = full.local_addr().expect("an address");
    // Nobody accepts: once its queue is full, the system answers nobody any more.
    let mut queue = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        queue.push(connected.expect("room in the queue"));
    }
    let plugin = granted(&private(address)).await;
    let args = format!(r#"{{"url": "http://{address}/"}}"#);
    let report = fetch_with(&plugin, &args, |l| l.http_connect_ms_max = 50).await;
    let Outcome::Failed(failure) = &report.outcome else { panic!("{report:?}") };
    assert_eq!(failure.code, "FETCH_FAILED", "{failure:?}");
    assert!(failure.message.contains("ConnectionTimeout"), "{failure:?}");
    assert!(report.used.wall_ms < 10_000, "the usual limit: {:?}", report.used);
}

/// Answers two requests with what there is of an answer, and waits for the ends of their connections.
async fn hanging(answer: &'static str) -> (SocketAddr, JoinHandle<()>, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a server");
    let address = listener.local_addr().expect("an address");
    let arrived = Arc::new(Notify::new());
    let tell = arrived.clone();
    let serving = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.expect("a guest");
            let mut head = [0; 1024];
            assert!(stream.read(&mut head).await.expect("a request") > 0);
            tell.notify_one();
            stream.write_all(answer.as_bytes()).await.expect("answered");
            while stream.read(&mut head).await.is_ok_and(|size| size > 0) {}
        }
    });
    (address, serving, arrived)
}
