//! A body with a size, that comes in time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error;

use super::Denied;

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Response,
}

pub(super) struct Bounded<B> {
    inner: Pin<Box<B>>,
    direction: Direction,
    bytes_left: u64,
    bytes_max: u64,
    pause: Duration,
    /// Set by the first poll, which happens on the runtime.
    timer: Option<Pin<Box<Sleep>>>,
    denied: Denied,
}

impl<B> Bounded<B> {
    /// `pause` is how long each next frame of a response may take from when the guest waits for it. The frames of a
    /// request come when the guest gives them; that has an end with its attempt.
    pub(super) fn new(
        inner: B,
        direction: Direction,
        bytes_max: u64,
        pause: Duration,
        denied: Denied,
    ) -> Self {
        Self {
            inner: Box::pin(inner),
            direction,
            bytes_left: bytes_max,
            bytes_max,
            pause,
            timer: None,
            denied,
        }
    }
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        match this.inner.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.timer = None;
                let size = frame.data_ref().map_or(0, Bytes::len) as u64;
                match this.bytes_left.checked_sub(size) {
                    Some(left) => {
                        this.bytes_left = left;
                        Poll::Ready(Some(Ok(frame)))
                    }
                    None => {
                        let (max, direction) = (this.bytes_max, this.direction);
                        this.denied.tell(format!(
                            "the body of an HTTP {} has more than {max} bytes (http_body_bytes_max)",
                            if direction == Direction::Request { "request" } else { "response" }
                        ));
                        Poll::Ready(Some(Err(match direction {
                            Direction::Request => Error::HttpRequestBodySize(Some(max)),
                            Direction::Response => Error::HttpResponseBodySize(Some(max)),
                        })))
                    }
                }
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if this.direction == Direction::Request => Poll::Pending,
            Poll::Pending => {
                let until = Instant::now() + this.pause;
                let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
                timer.as_mut().poll(cx).map(|()| Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
