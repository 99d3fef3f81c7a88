//! Tasks that reach outside, which works as far as it is granted.

use hostler_guest::prelude::*;

/// A request.
#[data]
#[derive(Debug)]
pub struct FetchArgs {
    /// Where to.
    pub url: String,
    /// `GET` if left out.
    #[serde(default)]
    pub method: Option<String>,
    /// The variable whose value is sent in the header `authorization`.
    #[serde(default)]
    pub token: Option<String>,
    /// How large a body is sent.
    #[serde(default)]
    pub body_bytes: usize,
    /// How often; the last answer counts.
    #[serde(default)]
    pub times: Option<u32>,
}

/// An answer.
#[data]
#[derive(Debug)]
pub struct Fetched {
    /// The status.
    pub status: u16,
    /// The size of the body.
    pub bytes: usize,
}

/// Sends a request and reads the answer to its end.
#[task]
pub fn fetch(args: FetchArgs) -> Result<Fetched, Failure> {
    let mut last = None;
    for _ in 0..args.times.unwrap_or(1) {
        last = Some(http::send(&args).map_err(|what| Failure::new("FETCH_FAILED", what))?);
    }
    let (status, bytes) = last.ok_or_else(|| Failure::new("FETCH_FAILED", "asked for nothing"))?;
    Ok(Fetched { status, bytes })
}

/// A file.
#[data]
#[derive(Debug)]
pub struct PathArgs {
    /// Where it is.
    pub path: String,
}

/// Returns a file's text.
#[task]
pub fn read(args: PathArgs) -> Result<String, Failure> {
    Ok(std::fs::read_to_string(args.path)?)
}

/// Writes `trespassed` into a file.
#[task]
pub fn write(args: PathArgs) -> Result<(), Failure> {
    Ok(std::fs::write(args.path, "trespassed")?)
}

/// A directory.
#[data]
#[derive(Debug)]
pub struct ListArgs {
    /// Where it is.
    pub path: String,
    /// How many listings of it are held at once.
    pub times: usize,
}

/// Lists a granted directory that often at once, lets go, does so again, and returns how often it could.
#[task]
pub fn list(args: ListArgs) -> Result<[usize; 2], Failure> {
    let once = || listings::hold(&args).map_err(|what| Failure::new("LIST_FAILED", what));
    Ok([once()?, once()?])
}

/// Returns a variable of the environment.
#[task]
pub fn variable(args: PathArgs) -> Result<Option<String>, Failure> {
    Ok(std::env::var(args.path).ok())
}

#[cfg(target_arch = "wasm32")]
mod http {
    use wasip2::http::outgoing_handler::handle;
    use wasip2::http::types::{Fields, Method, OutgoingBody, OutgoingRequest, Scheme};
    use wasip2::io::streams::StreamError;

    use super::FetchArgs;

    pub(super) fn send(args: &FetchArgs) -> Result<(u16, usize), String> {
        let (scheme, rest) = args.url.split_once("://").ok_or("no URL")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let headers = Fields::new();
        if let Some(name) = &args.token {
            let token = std::env::var(name).map_err(|error| error.to_string())?;
            headers.append("authorization", token.as_bytes()).map_err(|error| format!("{error:?}"))?;
        }
        let request = OutgoingRequest::new(headers);
        let method = args.method.as_deref().unwrap_or("GET");
        let method = if method == "GET" { Method::Get } else { Method::Other(method.to_owned()) };
        let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
        let path = if path.is_empty() { "/" } else { path };
        request.set_method(&method).map_err(|()| "no method")?;
        request.set_scheme(Some(&scheme)).map_err(|()| "no scheme")?;
        request.set_authority(Some(authority)).map_err(|()| "no authority")?;
        request.set_path_with_query(Some(path)).map_err(|()| "no path")?;
        let body = request.body().map_err(|()| "no body")?;
        let answer = handle(request, None).map_err(|error| format!("{error:?}"))?;
        if args.body_bytes > 0 {
            let out = body.write().map_err(|()| "no stream")?;
            for _ in 0..args.body_bytes.div_ceil(4096) {
                // A server that does not read on tells why in its answer.
                if out.blocking_write_and_flush(&[b'x'; 4096]).is_err() {
                    break;
                }
            }
        }
        drop(OutgoingBody::finish(body, None));
        answer.subscribe().block();
        let answer =
            answer.get().ok_or("no answer")?.map_err(|()| "taken")?.map_err(|error| format!("{error:?}"))?;
        let body = answer.consume().map_err(|()| "no body")?;
        let stream = body.stream().map_err(|()| "no stream")?;
        let mut bytes = 0;
        loop {
            match stream.blocking_read(64 << 10) {
                Ok(read) => bytes += read.len(),
                Err(StreamError::Closed) => return Ok((answer.status(), bytes)),
                Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
            }
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod listings {
    use wasip2::filesystem::preopens::get_directories;

    pub(super) fn hold(args: &super::ListArgs) -> Result<usize, String> {
        let granted = get_directories();
        let found = granted.iter().find(|(_, path)| *path == args.path);
        let (directory, _) = found.ok_or("no such directory")?;
        let held: Vec<_> = (0..args.times).map_while(|_| directory.read_directory().ok()).collect();
        Ok(held.len())
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod listings {
    pub(super) fn hold(args: &super::ListArgs) -> Result<usize, String> {
        Err(format!("{} is listed from within a sandbox alone", args.path))
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod http {
    pub(super) fn send(args: &super::FetchArgs) -> Result<(u16, usize), String> {
        Err(format!("{} is asked from within a sandbox alone", args.url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn natively_the_task_is_a_plain_program() {
        let path = std::env::temp_dir().join(format!("misbehave-{}", std::process::id()));
        let path = path.to_str().expect("text").to_owned();
        assert_eq!(write(PathArgs { path: path.clone() }), Ok(()));
        assert_eq!(read(PathArgs { path: path.clone() }).as_deref(), Ok("trespassed"));
        assert!(std::fs::remove_file(&path).is_ok() && read(PathArgs { path }).is_err());
        assert_eq!(variable(PathArgs { path: "NO_SUCH_VARIABLE".to_owned() }), Ok(None));
        let nowhere =
            FetchArgs { url: "x".to_owned(), method: None, token: None, body_bytes: 0, times: None };
        assert_eq!(fetch(nowhere).expect_err("no sandbox").code, "FETCH_FAILED");
    }
}
