//! What a client says and does not do: warnings, and sends that are suppressed.

use std::io::Write;
use std::sync::{Arc, Mutex};

use hostler::{Client, SendErrorCode};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::Stage;
use super::wire::Wire;

#[tokio::test(flavor = "multi_thread")]
async fn suppressed_sends_reach_nothing() {
    let stage = Stage::deserted().await;
    let wire = Wire::to(stage.database.url()).await;
    let client = Client::builder(wire.url()).suppress_sends(true).connect().await.expect("a client");
    let before = wire.statements();
    let error = client.send("text.word_count", json!({"text": "a"})).await.expect_err("suppressed");
    assert_eq!((error.code.as_str(), error.retryable), ("SEND_SUPPRESSED", false));
    let error = client.send_many("text.word_count", [json!({"text": "a"})]).await.expect_err("suppressed");
    assert_eq!(error.code, SendErrorCode::SendSuppressed);
    assert_eq!(wire.statements(), before);
    stage.clear().await;
}

/// The other process of the test below.
#[tokio::test]
async fn the_quiet_process() {
    let Ok(url) = std::env::var("HOSTLER_TEST_QUIET_URL") else { return };
    let client = Client::connect(&url).await.expect("a client");
    let error = client.send("text.word_count", json!({"text": "a"})).await.expect_err("suppressed");
    assert_eq!(error.code, SendErrorCode::SendSuppressed);
    println!("nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_suppresses_sends_too() {
    let stage = Stage::deserted().await;
    let mut other = tokio::process::Command::new(std::env::current_exe().expect("this program"));
    other.args(["--exact", "handle::quiet::the_quiet_process", "--nocapture"]);
    other.env("HOSTLER_TEST_QUIET_URL", stage.database.url()).env("HOSTLER_SUPPRESS_SENDS", "1");
    let output = other.output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("nothing was sent"), "{said}");
    stage.clear().await;
}

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("whole").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Said {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

// On one thread, whose subscriber hears nothing of the other tests.
#[tokio::test]
async fn large_arguments_are_warned_of_once_for_each_task() {
    let stage = Stage::deserted().await;
    let said = Said::default();
    let subscriber = tracing_subscriber::fmt().with_writer(said.clone()).with_ansi(false).finish();
    let hearing = tracing::subscriber::set_default(subscriber);
    let large = json!({"text": "x".repeat(1 << 20)});
    for task in ["text.word_count", "text.top_words", "text.word_count"] {
        stage.client.send(task, &large).await.expect("sent");
    }
    drop(hearing);
    let said = String::from_utf8(said.0.lock().expect("whole").clone()).expect("UTF-8");
    let warnings: Vec<_> = said.lines().filter(|line| line.contains("large arguments")).collect();
    assert_eq!(warnings.len(), 2, "{said}");
    assert!(warnings[0].contains("text.word_count") && warnings[1].contains("text.top_words"), "{said}");
    stage.clear().await;
}
