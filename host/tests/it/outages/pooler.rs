//! PgBouncer in between.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use hostler::dispatch::{Host, HostConfig};
use hostler::store::{Between, Connect, StoreError, between, migrate};
use hostler::{Client, Include, Status};
use serde_json::json;

use super::{LONG, host, until};
use crate::support::cluster::{Cluster, as_account, directory, give};
use crate::support::plugins_dir;

/// A PgBouncer in front of one server; stopped with this value.
struct Pooler {
    dir: tempfile::TempDir,
    child: Child,
}

/// Which of them: what keeps track of prepared statements came with 1.21.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Old,
    New,
}

struct Program {
    path: PathBuf,
    kind: Kind,
}

impl Program {
    /// What `torture/pgbouncer` finds, or with `HOSTLER_TEST_OBTAIN` fetches. `None`: there is none, and none is to be
    /// fetched; where it is, not to get one is a failure.
    fn find(kind: Kind) -> Option<Self> {
        let obtain = std::env::var_os("HOSTLER_TEST_OBTAIN").is_some();
        let word = if kind == Kind::Old { "old" } else { "new" };
        let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../torture/pgbouncer"));
        let answer = script.arg(word).args(obtain.then_some("obtain")).output().expect("it runs");
        if !obtain && answer.status.code() == Some(5) {
            eprintln!("skipped: there is no PgBouncer of the {word} kind");
            return None;
        }
        let why = String::from_utf8_lossy(&answer.stderr);
        assert!(
            answer.status.success(),
            "HOSTLER_TEST_OBTAIN is set, which needs both kinds of PgBouncer: {why}"
        );
        let path = String::from_utf8(answer.stdout).expect("a path").trim().into();
        Some(Self { path, kind })
    }
}

impl Pooler {
    fn start(program: &Program, cluster: &Cluster, settings: &str) -> Self {
        let dir = directory();
        let at = dir.path().display();
        let server = cluster.socket_dir().display();
        let config = format!(
            "[databases]\njobs = host={server} port=5432 user=postgres\n[pgbouncer]\nlisten_addr =\n\
            unix_socket_dir = {at}\nlisten_port = 6432\nauth_type = any\nlogfile = {at}/log\n\
            default_pool_size = 3\n{settings}\n"
        );
        let file = dir.path().join("pgbouncer.ini");
        fs::write(&file, config).expect("written");
        give(dir.path());
        let child = as_account(&program.path).arg(&file).stderr(std::process::Stdio::null()).spawn();
        let pooler = Self { child: child.expect("it runs"), dir };
        let began = std::time::Instant::now();
        // The socket is there a moment before anybody listens.
        while std::os::unix::net::UnixStream::connect(pooler.dir.path().join(".s.PGSQL.6432")).is_err() {
            assert!(began.elapsed() < LONG, "it never listened: {}", pooler.words());
        }
        pooler
    }

    fn url(&self) -> String {
        format!("postgres://postgres@localhost/jobs?host={}&port=6432", self.dir.path().display())
    }

    fn words(&self) -> String {
        fs::read_to_string(Path::new(self.dir.path()).join("log")).unwrap_or_default()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// Sends, waits, retries, cancels and looks up, all through the pooler.
async fn everything_works(client: &Client) {
    let many = (0..100).map(|n| json!({"text": n.to_string()}));
    for handle in client.send_many("text.word_count", many).await.expect("sent") {
        assert_eq!(handle.get(Some(LONG)).await.expect("a result")["words"], 1);
    }
    let mut waits = tokio::task::JoinSet::new();
    for n in 0..30_u32 {
        let client = client.clone();
        waits.spawn(async move {
            let key = n.to_string();
            let text = "x ".repeat(usize::try_from(n).expect("small"));
            let handle =
                client.task("text.word_count").key(key).send(json!({"text": text})).await.expect("sent");
            assert_eq!(handle.get(Some(LONG)).await.expect("a result")["words"], n, "its own answer");
        });
    }
    waits.join_all().await;
    let flaky = client.send("flaky.fail_then_succeed", json!({"failures": 1})).await.expect("sent");
    assert_eq!(flaky.get(Some(LONG)).await.expect("a result")["attempt"], 2);
    let long = client.send("misbehave.sleep", json!({"ms": 50_000})).await.expect("sent");
    until("it runs", async || {
        let info = long.info(Include::empty()).await.expect("an answer").expect("known");
        info.status == Status::Running
    })
    .await;
    long.cancel().await.expect("an answer");
    assert_eq!(long.get(Some(LONG)).await.expect_err("cancelled").code.as_str(), "TASK_CANCELLED");
}

async fn is_refused(program: &Program) {
    let cluster = Cluster::start(&[]);
    cluster.database("jobs").await;
    // Newer ones can be told not to keep track.
    let off = if program.kind == Kind::New { "max_prepared_statements = 0" } else { "" };
    let pooler = Pooler::start(program, &cluster, &format!("pool_mode = transaction\n{off}"));
    for settings in ["", "\nignore_startup_parameters = options"] {
        let pooler = Pooler::start(program, &cluster, &format!("pool_mode = transaction\n{off}{settings}"));
        let error = Client::connect(&pooler.url()).await.expect_err("refused").to_string();
        assert!(error.contains("max_prepared_statements = 200"), "{error}");
    }
    let Err(error) = Host::start(HostConfig::new(pooler.url(), plugins_dir())).await else {
        panic!("it started")
    };
    assert!(error.to_string().contains("PgBouncer 1.21"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_mixes_statements_up_is_refused() {
    let Some(program) = Program::find(Kind::Old) else { return };
    is_refused(&program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_pooler_that_is_told_to_mix_statements_up_is_refused() {
    let Some(program) = Program::find(Kind::New) else { return };
    is_refused(&program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_pooler_in_session_mode_everything_works() {
    for kind in [Kind::Old, Kind::New] {
        let Some(program) = Program::find(kind) else { continue };
        let cluster = Cluster::start(&[]);
        cluster.execute("postgres", "create database jobs").await;
        let pooler = Pooler::start(&program, &cluster, "pool_mode = session\ndefault_pool_size = 40");
        let host = host(&pooler.url(), |_| {}).await;
        let client = Client::connect(&pooler.url()).await.expect("a client");
        everything_works(&client).await;
        host.drain(LONG).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_pooler_in_transaction_mode_everything_works_with_and_without_a_direct_url() {
    let Some(program) = Program::find(Kind::New) else { return };
    let cluster = Cluster::start(&[]);
    cluster.execute("postgres", "create database jobs").await;
    let settings = "pool_mode = transaction\nmax_prepared_statements = 200";
    let pooler = Pooler::start(&program, &cluster, settings);
    let connect = Connect::parse(&pooler.url()).expect("a URL");
    assert_eq!(between(&connect).await.expect("an answer"), Between::Transactions);
    let direct = cluster.url("jobs");
    assert_eq!(between(&Connect::parse(&direct).expect("a URL")).await.expect("an answer"), Between::Nothing);

    let error = migrate(&connect).await.expect_err("not through this");
    assert!(matches!(error, StoreError::NotDirect), "{error}");
    // The direct one migrates, and listens.
    let one = host(&pooler.url(), |config| config.direct_url = Some(direct.clone())).await;
    let client = Client::builder(&pooler.url()).direct_url(&direct).connect().await.expect("a client");
    everything_works(&client).await;
    let listens = "select count(*) from pg_stat_activity where query like 'LISTEN%'";
    assert_eq!(cluster.count("jobs", listens).await, 2, "past the pooler");
    one.drain(LONG).await;

    let two = host(&pooler.url(), |_| {}).await;
    let client = Client::connect(&pooler.url()).await.expect("a client");
    everything_works(&client).await;
    two.drain(LONG).await;
}
