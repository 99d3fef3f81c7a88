//! Drives one Rust queue through its documented paths: `peers SYSTEM prepare|send|drain|serve|rounds URL [COUNT]`.
//!
//! Each command is a process of its own and speaks the lines of `bench/peers/README.md` with the runner.

mod awa;
mod graphile;
mod horsies;
mod peer;

use peer::Peer;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [system, command, url, rest @ ..] = args.as_slice() else {
        panic!("usage: peers SYSTEM prepare|send|drain|serve|rounds URL [COUNT]");
    };
    let count = rest.first().map_or(0, |count| count.parse().expect("a number"));
    match system.as_str() {
        "graphile_worker" => run::<graphile::Graphile>(command, url, count).await,
        "awa" => run::<awa::Awa>(command, url, count).await,
        "horsies" => run::<horsies::Horsies>(command, url, count).await,
        other => panic!("unknown system {other}"),
    }
}

async fn run<P: Peer>(command: &str, url: &str, count: usize) {
    match command {
        "prepare" => P::prepare(url).await,
        "send" => peer::send::<P>(url, count).await,
        "drain" => peer::drain::<P>(url, count).await,
        "serve" => peer::serve::<P>(url).await,
        "rounds" => peer::rounds::<P>(url, count).await,
        other => panic!("unknown command {other}"),
    }
}
