//! Origins: which servers a rule is about.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use hyper::Uri;
use serde::{Deserialize, Deserializer, de};

/// Where a request goes: scheme, host and port, in one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) https: bool,
    /// In lower case, without brackets and without a dot at the end.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Target {
    /// Reads a request's URI.
    ///
    /// # Errors
    /// It names no server, or a user beside it: who reads `good.example@bad.example` reads it wrongly.
    pub(crate) fn of(uri: &Uri) -> Result<Self, String> {
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            other => return Err(format!("the scheme {:?} is not supported", other.unwrap_or(""))),
        };
        let authority = uri.authority().ok_or("the request names no server")?.as_str();
        let (host, port) = host_and_port(authority, https)?;
        Ok(Self { https, host, port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.https, self.port) {
            (true, 443) | (false, 80) => write!(f, "{scheme}://{host}"),
            (_, port) => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

/// A pattern of origins: `https://api.example.com`, `https://*.example.com`, `http://10.0.0.7:8080`, `https://*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(Target);

impl Origin {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{text:?} is no origin such as \"https://api.example.com\": {what}");
        let (https, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(wrong("it begins with https:// or http://")),
        };
        if rest.contains(['/', '?', '#']) {
            return Err(wrong("it ends after host and port"));
        }
        let (host, port) = host_and_port(rest, https).map_err(|what| wrong(&what))?;
        // `*.` is half a pattern, not all hosts.
        let dots_alone = host == "*" && rest.split(':').next() != Some("*");
        if dots_alone || host.strip_prefix("*.").unwrap_or(&host).contains('*') && host != "*" {
            return Err(wrong("a * stands alone or before the first dot"));
        }
        Ok(Self(Target { https, host, port }))
    }

    /// Whether it names no single host.
    #[must_use]
    pub fn is_wild(&self) -> bool {
        self.0.host.starts_with('*')
    }

    /// The address it names, if it names one and no name.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.0.host.parse().ok()
    }

    /// Whether it names every server that the other one names.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        self.covers(&other.0)
    }

    pub(crate) fn covers(&self, target: &Target) -> bool {
        let host = match self.0.host.strip_prefix('*') {
            Some("") => true,
            // With its dot, and something before it.
            Some(suffix) => target.host.len() > suffix.len() && target.host.ends_with(suffix),
            None => self.0.host == target.host,
        };
        host && self.0.https == target.https && self.0.port == target.port
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

fn host_and_port(authority: &str, https: bool) -> Result<(String, u16), String> {
    if authority.contains('@') {
        return Err("it names a user".to_owned());
    }
    let bare_v6 = authority.ends_with(']');
    let (host, port) = match authority.rsplit_once(':').filter(|_| !bare_v6) {
        Some((host, port)) => {
            let number = port.parse().ok().filter(|&port: &u16| port != 0);
            (host, number.ok_or_else(|| format!("{port:?} is no port"))?)
        }
        None => (authority, if https { 443 } else { 80 }),
    };
    if let Some(v6) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        // One spelling for each address.
        let v6 = v6.parse::<Ipv6Addr>().map_err(|_| format!("{v6:?} is no address"))?;
        return Ok((v6.to_string(), port));
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    match host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || "[]:".contains(c))
    {
        true => Err("it names no host".to_owned()),
        false => Ok((host, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(origin: &str, uri: &str) -> bool {
        let target = Target::of(&uri.parse().expect("a URI")).expect("a target");
        Origin::parse(origin).expect("an origin").covers(&target)
    }

    #[test]
    fn an_origin_covers_its_own_servers_and_no_others() {
        for (origin, uri) in [
            ("https://api.example.com", "https://API.example.com./v1?x=1"),
            ("https://api.example.com", "https://api.example.com:443/"),
            ("https://*.example.com", "https://a.b.example.com/"),
            ("https://*", "https://anything.example/"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("http://[::1]:80", "http://[0:0:0:0:0:0:0:1]/"),
        ] {
            assert!(covers(origin, uri), "{origin} {uri}");
        }
        for (origin, uri) in [
            ("https://api.example.com", "http://api.example.com/"),
            ("https://api.example.com", "https://api.example.com:8443/"),
            ("https://api.example.com", "https://api.example.com.evil.example/"),
            ("https://api.example.com", "https://evilapi.example.com/"),
            ("https://*.example.com", "https://example.com/"),
            ("https://*.example.com", "https://evilexample.com/"),
            ("http://127.0.0.1", "http://2130706433/"),
        ] {
            assert!(!covers(origin, uri), "{origin} {uri}");
        }
    }

    #[test]
    fn what_is_no_origin_is_told() {
        for text in [
            "example.com",
            "ftp://x",
            "https://",
            "https://a/b",
            "https://u@a",
            "https://a:0",
            "https://a:x",
            "https://a.*.b",
            "https://*a",
            "https://*.",
            "https://*..:443",
            "https://[::1",
            "https://::1",
            "https://[x]",
            "https://a b",
        ] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
        assert!(Target::of(&"https://good.example@bad.example/".parse().expect("a URI")).is_err());
        assert!(Target::of(&"/path".parse().expect("a URI")).is_err());
    }
}
