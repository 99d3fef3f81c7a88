//! A PgBouncer in transaction mode between the wires and the server.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::{Child, Command};

use crate::database::Database;

/// Stopped with this value.
#[derive(Debug)]
pub(crate) struct Pooler {
    socket: PathBuf,
    _child: Child,
}

const STARTS_WITHIN: Duration = Duration::from_secs(20);

impl Pooler {
    /// The program that was named or, by an empty name, the one that `torture/pgbouncer` finds or fetches.
    ///
    /// # Errors
    /// There is none, or it does not start.
    pub(crate) async fn start(named: &OsStr, database: &Database, lease: Duration) -> anyhow::Result<Self> {
        let program = if named.is_empty() { obtained().await? } else { PathBuf::from(named) };
        // It refuses to be root, as the server does: it is whoever owns the server's files.
        let root = database.root();
        let owner = fs::metadata(root.join("data"))?;
        let dir = root.join("pooler");
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        let file = dir.join("pgbouncer.ini");
        fs::write(&file, config(&dir, database, lease)?)?;
        for path in [&dir, &file] {
            chown(path, Some(owner.uid()), Some(owner.gid()))?;
        }
        let mut command = Command::new(&program);
        command.arg(&file).current_dir("/").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if rustix::process::geteuid().is_root() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        let mut child = command.spawn().with_context(|| program.display().to_string())?;
        let socket = dir.join(".s.PGSQL.6432");
        let listens = async {
            while !socket.exists() {
                if let Some(status) = child.try_wait()? {
                    bail!("{}: {status}: {}", program.display(), said(&dir));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        match tokio::time::timeout(STARTS_WITHIN, listens).await {
            Ok(listens) => listens?,
            Err(_) => bail!("{} never listened: {}", program.display(), said(&dir)),
        }
        Ok(Self { socket, _child: child })
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.socket.clone()
    }
}

/// As docs/RELIABILITY.md says, with few connections, so that they are shared a lot.
fn config(dir: &Path, database: &Database, lease: Duration) -> anyhow::Result<String> {
    let socket = database.socket();
    let server = socket.parent().context("a socket is in a directory")?.display();
    let patience = (lease / 4).as_millis();
    let dir = dir.display();
    Ok(format!(
        "[databases]\n\
        postgres = host={server} port=5432 user=postgres connect_query='set lock_timeout = {patience}; \
        set idle_in_transaction_session_timeout = {patience}; set jit = off; set enable_seqscan = off; \
        set enable_bitmapscan = off; set enable_sort = off; set enable_hashjoin = off; set enable_mergejoin = off'\n\
        [pgbouncer]\npool_mode = transaction\nmax_prepared_statements = 200\nserver_login_retry = 1\n\
        listen_addr =\nunix_socket_dir = {dir}\nlisten_port = 6432\nauth_type = any\nlogfile = {dir}/log\n\
        default_pool_size = 12\nmax_client_conn = 1000\nignore_startup_parameters = extra_float_digits\n"
    ))
}

async fn obtained() -> anyhow::Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("pgbouncer");
    let asked = Command::new(&script).args(["new", "obtain"]).output().await;
    let answer = asked.with_context(|| script.display().to_string())?;
    if !answer.status.success() {
        bail!("no PgBouncer: {}", String::from_utf8_lossy(&answer.stderr));
    }
    Ok(PathBuf::from(String::from_utf8(answer.stdout)?.trim()))
}

fn said(dir: &Path) -> String {
    fs::read_to_string(dir.join("log")).unwrap_or_default()
}
