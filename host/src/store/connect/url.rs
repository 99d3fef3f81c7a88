//! URLs, which may name several servers: `postgres://me@a,b:5433/jobs` or `…?host=/run/a,/run/b`, as libpq has it.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

/// One URL for each server that this one names, in its order.
pub(super) fn of_each_server(url: &str) -> Result<Vec<PgConnectOptions>, String> {
    let (scheme, rest) = url.split_once("://").ok_or("it has no scheme")?;
    if !["postgres", "postgresql"].contains(&scheme) {
        return Err("it does not start with postgres://".to_owned());
    }
    let (before, query) = rest.split_once('?').map_or((rest, None), |(before, query)| (before, Some(query)));
    let (authority, path) = match before.find('/') {
        Some(slash) => before.split_at(slash),
        None => (before, ""),
    };
    let (user, hosts) = match authority.rfind('@') {
        Some(at) => authority.split_at(at + 1),
        None => ("", authority),
    };
    let mut kept = Vec::new();
    let (mut named, mut ports) = (Vec::new(), Vec::new());
    for pair in query.into_iter().flat_map(|query| query.split('&')) {
        match pair.split_once('=') {
            Some(("host", list)) => named = split(list),
            Some(("port", list)) => ports = split(list),
            // Only a server that takes writes is of any use, however this is set.
            Some(("target_session_attrs", "any" | "primary" | "read-write")) => {}
            Some(("target_session_attrs", other)) => {
                return Err(format!(
                    "target_session_attrs={other} leads to servers that cannot be written to"
                ));
            }
            _ => kept.push(pair.to_owned()),
        }
    }
    let hosts: Vec<String> = hosts.split(',').map(str::to_owned).collect();
    let count = named.len().max(hosts.len());
    let fits = |list: &[String]| list.len() <= 1 || list.len() == count;
    if !fits(&hosts) || !fits(&ports) {
        return Err(format!("it names {count} hosts, and another number of ports"));
    }
    let of = |list: &[String], at: usize| list.get(if list.len() == 1 { 0 } else { at }).cloned();
    (0..count)
        .map(|at| {
            let mut pairs = kept.clone();
            pairs.extend(of(&named, at).map(|host| format!("host={host}")));
            pairs.extend(of(&ports, at).map(|port| format!("port={port}")));
            let query = if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) };
            let mut host = of(&hosts, at).unwrap_or_default();
            if host.is_empty() && !named.is_empty() {
                // A user without a host is no URL, and the host that is named afterwards counts.
                "localhost".clone_into(&mut host);
            }
            let url = format!("{scheme}://{user}{host}{path}{query}");
            PgConnectOptions::from_str(&url).map_err(|error| error.to_string())
        })
        .collect()
}

fn split(list: &str) -> Vec<String> {
    list.replace("%2C", ",").replace("%2c", ",").split(',').map(str::to_owned).collect()
}

/// The URL as it may be shown.
pub(super) fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => match url[scheme + 3..at].split_once(':') {
            Some((user, _)) => format!("{}{user}:***{}", &url[..scheme + 3], &url[at..]),
            None => url.to_owned(),
        },
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(url: &str) -> Vec<String> {
        let servers = of_each_server(url).expect(url);
        let place = |s: &PgConnectOptions| match s.get_socket() {
            Some(socket) => format!("{}:{}", socket.display(), s.get_port()),
            None => format!("{}:{}", s.get_host(), s.get_port()),
        };
        servers.iter().map(place).collect()
    }

    #[test]
    fn a_url_names_one_server_or_several() {
        assert_eq!(places("postgres://me:pa,ss@db/jobs"), ["db:5432"]);
        assert_eq!(places("postgresql://a,b:5433,[::1]:5434/jobs"), ["a:5432", "b:5433", "[::1]:5434"]);
        assert_eq!(places("postgres://me@/jobs?host=/run/a,/run/b&port=1,2"), ["/run/a:1", "/run/b:2"]);
        assert_eq!(
            places("postgres://me@localhost/jobs?host=%2Frun%2Fa%2C%2Frun%2Fb"),
            ["/run/a:5432", "/run/b:5432"]
        );
        assert_eq!(
            places("postgres://a,b/jobs?port=6432&target_session_attrs=read-write"),
            ["a:6432", "b:6432"]
        );
    }

    #[test]
    fn what_all_have_in_common_goes_to_each() {
        for server in of_each_server("postgres://me@a,b/jobs?options=-c%20work_mem%3D8MB").expect("a URL") {
            assert_eq!((server.get_username(), server.get_database()), ("me", Some("jobs")));
            assert_eq!(server.get_options(), Some("-c work_mem=8MB"));
        }
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (url, words) in [
            ("mysql://db/jobs", "postgres://"),
            ("db", "scheme"),
            ("postgres://a,b,c/jobs?port=1,2", "ports"),
            ("postgres://a,b/jobs?target_session_attrs=standby", "cannot be written to"),
        ] {
            let error = of_each_server(url).expect_err(url);
            assert!(error.contains(words), "{url}: {error}");
        }
    }
}
