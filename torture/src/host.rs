//! A place for a host: one process after the other, each restarted when it ends, as an init system would.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::build::{Hostler, Plugin};
use crate::log::{End, Event, Log};

/// How the processes of a run are started.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) hostler: Hostler,
    pub(crate) plugin: Plugin,
    pub(crate) dir: PathBuf,
    pub(crate) url: String,
    /// Past the pooler, where there is one and hosts listen.
    pub(crate) direct_url: Option<String>,
    pub(crate) slots: usize,
    pub(crate) lease: Duration,
    pub(crate) listen: bool,
    pub(crate) log: Log,
}

/// What may be done to the process of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Kill,
    Stop(Duration),
    Drain,
    Swap,
    /// SIGTERM, and nothing is started after it.
    End,
}

/// A place, with somebody who works in it.
#[derive(Debug)]
pub(crate) struct Place {
    orders: mpsc::Sender<Order>,
    life: JoinHandle<anyhow::Result<()>>,
}

/// Attempts get this long to finish at a SIGTERM: shorter than the longest, so that some are given back.
const GRACE: &str = "1500ms";
/// How long a host may take to leave.
const LEAVE_MAX: Duration = Duration::from_secs(60);

impl Place {
    pub(crate) fn take(number: usize, launch: Launch) -> anyhow::Result<Self> {
        let (orders, taken) = mpsc::channel(1);
        let plugins = launch.dir.join(format!("plugins-{number}"));
        fs::create_dir_all(&plugins)?;
        let mut keeper = Keeper { number, launch, plugins, starts: 0, build: 0, orders: taken };
        keeper.put_plugin()?;
        let life = tokio::spawn(async move { keeper.keep().await });
        Ok(Self { orders, life })
    }

    /// Gives an order; `false` if the last one is not done yet.
    pub(crate) fn order(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }

    /// Has the process leave, and waits for that.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        let _gone = self.orders.send(Order::End).await;
        self.life.await?
    }
}

struct Keeper {
    number: usize,
    launch: Launch,
    plugins: PathBuf,
    starts: u32,
    build: u32,
    orders: mpsc::Receiver<Order>,
}

impl Keeper {
    async fn keep(&mut self) -> anyhow::Result<()> {
        loop {
            self.starts += 1;
            let name = format!("{}-{}", self.number, self.starts);
            let mut child = self.start(&name)?;
            let pid = child.id().context("a new process has a pid")?;
            self.launch.log.write(Event::HostStarted { host: name.clone(), pid });
            let mut stdout = BufReader::new(child.stdout.take().context("stdout")?).lines();
            // Kept open: when it closes, the host leaves.
            let _leash = child.stdin.take();
            let (mut heard, mut ready, mut told, mut over) = (false, false, None, false);
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status?,
                    line = stdout.next_line(), if !heard => {
                        // Its one line, or its end.
                        heard = true;
                        ready = matches!(line, Ok(Some(_)));
                        if ready {
                            self.launch.log.write(Event::HostReady { host: name.clone() });
                        }
                    }
                    order = self.orders.recv(), if told.is_none() => match order {
                        Some(Order::Kill) => {
                            self.fault("kill", Duration::ZERO);
                            child.start_kill()?;
                            // Logged at once: from here on others may take over.
                            self.ended(&name, pid, End::Killed);
                            told = Some(End::Killed);
                        }
                        Some(Order::Stop(time)) => {
                            self.fault("stop", time);
                            signal(pid, Signal::STOP);
                            tokio::time::sleep(time).await;
                            signal(pid, Signal::CONT);
                            self.launch.log.write(Event::Continued { place: self.number });
                        }
                        Some(Order::Swap) => {
                            self.fault("swap", Duration::ZERO);
                            self.put_plugin()?;
                        }
                        Some(Order::Drain) => {
                            self.fault("drain", Duration::ZERO);
                            signal(pid, Signal::TERM);
                            told = Some(End::Drained);
                        }
                        Some(Order::End) | None => {
                            signal(pid, Signal::TERM);
                            (told, over) = (Some(End::Drained), true);
                        }
                    },
                    () = tokio::time::sleep(LEAVE_MAX), if told.is_some() => {
                        // Within an hour of patience nothing would change; what it is stuck in is in its log.
                        signal(pid, Signal::ABORT);
                        told = Some(End::DrainFailed);
                    }
                }
            };
            if told != Some(End::Killed) {
                self.ended(&name, pid, how(told, ready, status));
            }
            if over {
                return Ok(());
            }
            if told.is_none() {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
    }

    /// An order may have waited while the last one was carried out: what counts is when it is done.
    fn fault(&self, word: &str, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.launch.log.write(Event::Fault { fault: word.to_owned(), host: Some(self.number), ms });
    }

    fn ended(&self, host: &str, pid: u32, how: End) {
        self.launch.log.write(Event::HostEnded { host: host.to_owned(), pid, how });
    }

    fn start(&self, name: &str) -> anyhow::Result<Child> {
        let Launch { dir, lease, slots, .. } = &self.launch;
        self.grant(name)?;
        let stderr =
            OpenOptions::new().append(true).create(true).open(dir.join(format!("host-{name}.log")))?;
        let mut command = self.launch.hostler.command()?;
        command.args(["serve", "--leash", "--slots", &slots.to_string(), "--grace", GRACE]);
        command.args(["--lease", &format!("{}ms", lease.as_millis())]);
        // Its hosts are killed again and again, and no plugin is to blame.
        command.arg("--no-quarantine");
        command.arg("--plugins").arg(&self.plugins);
        // Of its own: a host that is killed while it writes one must find its way by itself.
        command.arg("--cache-dir").arg(dir.join(format!("cache-{}", self.number)));
        if !self.launch.listen {
            command.arg("--no-listen");
        }
        if let Some(direct_url) = &self.launch.direct_url {
            command.env("HOSTLER_DIRECT_URL", direct_url);
        }
        command.env("DATABASE_URL", &self.launch.url).env("RUST_LOG", "info").current_dir(dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true);
        command.spawn().context("hostler does not run")
    }

    /// Lets the guests of the next process write, under its name.
    fn grant(&self, name: &str) -> anyhow::Result<()> {
        let effects = effects(&self.launch.dir);
        let text = format!(
            "[[directories]]\nhost = {:?}\nguest = {:?}\nwrite = true\n\n[env]\nHOST = {name:?}\n",
            effects.display().to_string(),
            torture::EFFECTS,
        );
        write_whole(&self.plugins.join("torture.toml"), text.as_bytes())
    }

    /// Puts the next build of the plugin in place of the last one.
    fn put_plugin(&mut self) -> anyhow::Result<()> {
        let component = self.launch.plugin.number(self.build);
        self.build += 1;
        write_whole(&self.plugins.join("torture.wasm"), &component)
    }
}

fn how(told: Option<End>, ready: bool, status: ExitStatus) -> End {
    match told {
        Some(End::Drained) if status.success() => End::Drained,
        Some(End::Drained) if !ready => End::StartFailed,
        Some(End::Drained | End::DrainFailed) => End::DrainFailed,
        Some(other) => other,
        None if ready => End::GaveUp,
        None => End::StartFailed,
    }
}

/// Where guests leave their lines.
pub(crate) fn effects(dir: &Path) -> PathBuf {
    dir.join("effects")
}

fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, bytes)?;
    File::open(&part)?.sync_all()?;
    Ok(fs::rename(&part, path)?)
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _gone = kill_process(pid, signal);
    }
}
