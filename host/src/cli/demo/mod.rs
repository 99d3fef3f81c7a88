//! `hostler demo`: the main job on real input, told as a short story.
//!
//! [`stage`] makes the plugins ready, [`acts`] are the tasks that are sent, and here is the play: what is
//! started, in which order, and how it is stopped again, whatever happens.

mod acts;
mod stage;

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use crate::client::{Client, Include, TaskHandle, TaskInfo};
use crate::dispatch::{Host, HostConfig};
use crate::embedded::binaries;
use crate::sandbox::Compiler;
use crate::task::{Status, TaskError};

use super::database::{Database, Need};
use super::exit::Exit;
use super::info::story;
use super::output::Spinner;
use super::{Context, output, settings};

use acts::Act;

/// No task of the demo takes nearly so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Builds the example plugins, starts a host, and runs real tasks: run it inside a clone of the repository.
///
/// Uses the private PostgreSQL of the data directory, and obtains one where the machine has none. Stops
/// everything it starts.
#[derive(Debug, Args)]
pub(super) struct Demo {}

/// One task that was run.
struct Played {
    act: Act,
    info: TaskInfo,
    answer: Result<Value, TaskError>,
}

/// Tells people; programs get one object at the end.
#[derive(Clone, Copy)]
struct Story {
    silent: bool,
}

impl Story {
    fn say(self, words: impl std::fmt::Display) -> Result<(), Exit> {
        if self.silent { Ok(()) } else { output::line(words) }
    }
}

impl Demo {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        let began = Instant::now();
        let root = stage::repository()?;
        let tell = Story { silent: context.json() };
        let acts = acts::all(&root)?;
        tell.say("1. The plugins, compiled to WebAssembly components")?;
        let dir = Box::pin(context.signals.or(stage::plugins(context, &root, tell))).await?;
        tell.say("\n2. A database and a host")?;
        context.signals.or(programs(context)).await?;
        let database = Database::open(context, Need::Create).await?;
        let done = Box::pin(context.signals.or(perform(context, &database, &dir, acts, tell))).await;
        database.leave().await;
        let played = done?;
        let attempts: u32 = played.iter().map(|played| played.info.attempt).sum();
        let completed = played.iter().filter(|played| played.info.status == Status::Completed).count();
        tell.say(format_args!(
            "\n{completed} of {} tasks completed, the hostile one was contained; {attempts} attempts, each in a sandbox of \
             its own, {} in all.\nEverything that was started is stopped. Next: docs/writing-plugins.md, `hostler new`, \
             `hostler serve`.",
            played.len(),
            output::duration(Duration::from_millis(u64::try_from(began.elapsed().as_millis()).unwrap_or(0))),
        ))?;
        if context.json() {
            let tasks: Vec<Value> = played
                .iter()
                .map(|played| json!({ "about": played.act.title, "info": played.info, "error": played.answer.as_ref().err() }))
                .collect();
            return output::line(json!({ "tasks": tasks, "attempts": attempts, "completed": completed }));
        }
        Ok(())
    }
}

/// PostgreSQL's programs, where they are needed; obtained where there are none.
async fn programs(context: &Context) -> Result<(), Exit> {
    if context.database_url().is_some() {
        return Ok(());
    }
    let spinner = Spinner::start("looking for PostgreSQL");
    let obtained = tokio::task::spawn_blocking(|| binaries::obtain(&mut |what| output::note(what)));
    drop(obtained.await.map_err(|error| Exit::infrastructure(error.to_string()))??);
    drop(spinner);
    Ok(())
}

/// Starts a host, lets it play, and stops it.
async fn perform(
    context: &Context,
    database: &Database,
    dir: &Path,
    acts: Vec<Act>,
    tell: Story,
) -> Result<Vec<Played>, Exit> {
    let mut config = HostConfig::new(database.url(), dir);
    config.slots = 8;
    config.bounds = settings::bounds(context)?;
    config.compiler = Some(Compiler::own(config.bounds.compile));
    config.cache_dir = Some(context.cache_dir());
    let spinner = Spinner::start("starting a host");
    let host = Host::start(config).await?;
    drop(spinner);
    let played = play(database, &host, dir, acts, tell).await;
    host.drain(Duration::from_secs(5)).await;
    played
}

async fn play(
    database: &Database,
    host: &Host,
    dir: &Path,
    acts: Vec<Act>,
    tell: Story,
) -> Result<Vec<Played>, Exit> {
    match database.server() {
        Some(server) => {
            let how = if server.adopted() { "was running already" } else { "started" };
            let place = server.root().display();
            tell.say(format_args!("   PostgreSQL {}, private, in {place}: {how}", server.version()))?;
        }
        None => tell.say("   the database that DATABASE_URL or --database-url names")?,
    }
    let loaded = host.loaded();
    let tasks: usize = loaded.plugins().map(|plugin| plugin.descriptor().tasks.len()).sum();
    tell.say(format_args!(
        "   host {} serves {tasks} tasks of {} plugins from {}",
        host.session().map(|session| session.to_string()).unwrap_or_default(),
        loaded.plugins().count(),
        output::path(dir),
    ))?;
    let client = database.client().await?;
    let began = Instant::now();
    let mut sent = Vec::new();
    for act in acts {
        let handle = client.send(act.task, &act.args).await?;
        sent.push((act, handle));
    }
    tell.say(format_args!(
        "\n3. {} tasks, sent in {} ms; a hostile one is the first of them",
        sent.len(),
        began.elapsed().as_millis()
    ))?;
    let mut played = Vec::new();
    // The hostile one is asked for last: the others do not wait for it.
    sent.rotate_left(1);
    let spinner = Spinner::start("waiting for results");
    for (act, handle) in sent {
        let hostile = act.hostile;
        if hostile {
            tell.say(format_args!(
                "   all but the hostile one done after {} ms",
                began.elapsed().as_millis()
            ))?;
        }
        let one = watch(&client, act, handle).await?;
        show(&one, tell)?;
        if let (Err(error), false) = (&one.answer, hostile) {
            return Err(error.clone().into());
        }
        played.push(one);
    }
    drop(spinner);
    attempts(&played, tell)?;
    Ok(played)
}

/// Waits for one task and reads its story.
async fn watch(client: &Client, act: Act, handle: TaskHandle<Value>) -> Result<Played, Exit> {
    let answer = match handle.get(Some(PATIENCE)).await {
        Err(error) if error.is_transient() => return Err(error.into()),
        answer => answer,
    };
    let info = client.handle::<Value>(handle.id()).info(Include::ATTEMPTS | Include::FAILED_REASON).await?;
    let info = info.ok_or_else(|| Exit::infrastructure(format!("the task {} is gone", handle.id())))?;
    Ok(Played { act, info, answer })
}

fn show(played: &Played, tell: Story) -> Result<(), Exit> {
    let Played { act, info, answer } = played;
    let words = match answer {
        Ok(result) => (act.tells)(result),
        Err(error) => format!("{}: {}", error.code, error.message),
    };
    let wall: u32 = info.attempts.iter().flatten().filter_map(|a| Some(a.used?.wall_ms)).sum();
    tell.say(format_args!(
        "   {} {:<10}{}: {} -> {words} [{wall} ms]",
        info.task_id, info.status, info.task_name, act.title
    ))
}

/// The attempts of those that took more than one, and of the hostile one, newest first.
fn attempts(played: &[Played], tell: Story) -> Result<(), Exit> {
    tell.say("\n4. Attempts, newest first")?;
    for Played { info, .. } in played.iter().filter(|played| played.act.hostile || played.info.attempt > 1) {
        tell.say(format_args!("   {} {}", info.task_id, info.task_name))?;
        for attempt in info.attempts.iter().flatten() {
            tell.say(format_args!("     {}", story(attempt).replace('\n', "\n     ")))?;
        }
    }
    Ok(())
}
