//! The world outside: a server that writes down what it was asked, and may keep its answer back.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

pub(super) struct Effects {
    origin: String,
    seen: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
    answers: Arc<Semaphore>,
}

impl Effects {
    /// Answers everything at once.
    pub(super) async fn answering() -> Self {
        Self::with(Semaphore::MAX_PERMITS).await
    }

    /// Answers nothing until it is let.
    pub(super) async fn holding() -> Self {
        Self::with(0).await
    }

    async fn with(answers: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("bound"));
        let (seen, answers) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(Semaphore::new(answers)));
        let (tell, count) = watch::channel(0);
        let (log, allowed) = (seen.clone(), answers.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (log, allowed, tell) = (log.clone(), allowed.clone(), tell.clone());
                tokio::spawn(async move {
                    let mut head = vec![0; 8192];
                    let size = stream.read(&mut head).await.unwrap_or(0);
                    let head = String::from_utf8_lossy(&head[..size]).into_owned();
                    // A connection alone does nothing.
                    let Some(path) = head.split(' ').nth(1) else { return };
                    log.lock().expect("whole").push(path.trim_start_matches('/').to_owned());
                    tell.send_modify(|n| *n += 1);
                    if let Ok(allowed) = allowed.acquire().await {
                        allowed.forget();
                    }
                    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                    let _gone = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { origin, seen, count, answers }
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// Lets this many requests be answered.
    pub(super) fn answer(&self, requests: usize) {
        self.answers.add_permits(requests);
    }

    /// What was asked so far, in order.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("whole").clone()
    }

    /// Waits until so much was asked.
    pub(super) async fn reach(&self, requests: usize) {
        let mut count = self.count.clone();
        let reached = count.wait_for(|n| *n >= requests);
        tokio::time::timeout(crate::support::LONG, reached).await.expect("in time").expect("counted");
    }
}
