//! Two hosts, one task, one database. A host's statement is a message: it is carried out at any later time, or never,
//! and its answer arrives or is lost.

use std::collections::BTreeSet;

/// What a settle has to name to be written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    /// Session and claim number.
    Claim,
    /// The attempt's number.
    Attempt,
    None,
}

/// The rules of the protocol, each of which can be taken out.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) fence: Fence,
    /// Recovery looks at any time, not once for each death.
    pub(crate) recover_again: bool,
    /// Claims and settles see to it that their host is alive, and keep it so until they commit.
    pub(crate) lock_host: bool,
    /// A claim without an answer is made impossible before the host goes on.
    pub(crate) fence_lost_claims: bool,
    /// A claim of what must not start twice is on disk before the body starts.
    pub(crate) durable_claims: bool,
    pub(crate) redeliveries_max: u8,
    /// How often a host may be started, and claim in each start: what there is to explore grows with both.
    pub(crate) starts: usize,
    pub(crate) claims: u8,
}

impl Rules {
    pub(crate) const ALL: Self = Self {
        fence: Fence::Claim,
        recover_again: true,
        lock_host: true,
        fence_lost_claims: true,
        durable_claims: true,
        redeliveries_max: 1,
        starts: 1,
        claims: 2,
    };
}

/// A process start of a host: which host, and its how many-th.
type Session = (usize, usize);

const HOSTS: usize = 2;
const SESSIONS: usize = 2;
const ATTEMPTS: u8 = 2;
/// More starts than these are as wrong.
const STARTS: u8 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Message {
    Claim {
        session: Session,
        number: u8,
    },
    Settle {
        session: Session,
        number: u8,
        attempt: u8,
    },
    /// A settle that gives the task back.
    Release {
        session: Session,
        number: u8,
        attempt: u8,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Task {
    Pending { attempt: u8, lost: u8 },
    Running { session: Session, number: u8, attempt: u8, lost: u8, flushed: bool },
    Done,
}

/// What a host holds in its memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Holds {
    Nothing,
    /// A claim was asked for.
    Asked(u8),
    /// Its answer is not going to come.
    Unanswered(u8),
    Claimed {
        number: u8,
        attempt: u8,
    },
    /// The lease held when it was looked at.
    Checked {
        number: u8,
        attempt: u8,
    },
    Runs {
        number: u8,
        attempt: u8,
    },
    Settles {
        number: u8,
        attempt: u8,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Process {
    Up,
    Stopped,
    Dead,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Host {
    process: Process,
    start: usize,
    claims: u8,
    holds: Holds,
}

/// What the database says about a session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Row {
    alive: bool,
    floor: u8,
    /// It was silent for its whole lease.
    silent: bool,
    /// Its tasks have yet to be taken back, where that is done once.
    to_recover: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State {
    hosts: [Host; HOSTS],
    rows: [[Row; SESSIONS]; HOSTS],
    task: Task,
    under_way: BTreeSet<Message>,
    closed: Vec<u8>,
    starts: u8,
    crashed: bool,
    wrong: Option<&'static str>,
}

impl State {
    pub(crate) fn begin() -> Self {
        let host = Host { process: Process::Up, start: 0, claims: 0, holds: Holds::Nothing };
        let row = Row { alive: true, floor: 0, silent: false, to_recover: false };
        Self {
            hosts: [host.clone(), host],
            rows: [[row; SESSIONS]; HOSTS],
            task: Task::Pending { attempt: 0, lost: 0 },
            under_way: BTreeSet::new(),
            closed: Vec::new(),
            starts: 0,
            crashed: false,
            wrong: None,
        }
    }

    /// The promise that this state breaks.
    pub(crate) fn broken(&self, rules: &Rules) -> Option<&'static str> {
        if self.wrong.is_some() {
            return self.wrong;
        }
        if rules.redeliveries_max == 0 && self.starts > 1 {
            return Some("with redeliveries = 0 nothing starts twice");
        }
        if self.closed.iter().enumerate().any(|(at, number)| usize::from(*number) != at + 1) {
            return Some("attempts are numbered without a gap, each closed once");
        }
        let Task::Running { session, .. } = self.task else { return None };
        let (host, row) = (&self.hosts[session.0], self.rows[session.0][session.1]);
        let nobody_cares = match row.alive {
            true => host.start == session.1 && host.process == Process::Up && host.holds == Holds::Nothing,
            false => !rules.recover_again && !row.to_recover,
        };
        // Nothing is under way that would still change it.
        (nobody_cares && self.under_way.is_empty()).then_some("no task stays RUNNING for ever")
    }

    /// Every step that somebody can take.
    pub(crate) fn next(&self, rules: &Rules) -> Vec<(String, Self)> {
        let mut steps = Vec::new();
        for host in 0..HOSTS {
            self.steps_of_host(host, rules, &mut steps);
            self.steps_against_host(host, rules, &mut steps);
        }
        for message in &self.under_way {
            for answered in [true, false] {
                let mut then = self.clone();
                then.under_way.remove(message);
                then.carry_out(*message, answered, rules);
                let fate = if answered { "is answered" } else { "is carried out, the answer lost" };
                steps.push((format!("{message:?} {fate}"), then));
            }
        }
        self.steps_of_database(rules, &mut steps);
        steps
    }

    fn steps_of_host(&self, at: usize, rules: &Rules, steps: &mut Vec<(String, Self)>) {
        let host = &self.hosts[at];
        let session = (at, host.start);
        // Where a task may start again it is of no interest how often it did.
        let most_starts = if rules.redeliveries_max == 0 { STARTS } else { 0 };
        if host.process == Process::Up {
            let mut step = |what: &str, change: &dyn Fn(&mut Self)| {
                let mut then = self.clone();
                change(&mut then);
                steps.push((format!("host {at}.{}: {what}", host.start), then));
            };
            match host.holds {
                Holds::Nothing if host.claims < rules.claims => step("claims", &|then| {
                    let host = &mut then.hosts[at];
                    host.claims += 1;
                    host.holds = Holds::Asked(host.claims);
                    then.under_way.insert(Message::Claim { session, number: host.claims });
                }),
                Holds::Unanswered(number) => step("finds out about its claim", &|then| {
                    then.find_out(session, number, rules);
                }),
                Holds::Claimed { number, attempt } => {
                    if self.rows[at][host.start].silent {
                        step("has no lease, and releases", &|then| {
                            then.hosts[at].holds = Holds::Settles { number, attempt };
                            then.under_way.insert(Message::Release { session, number, attempt });
                        });
                    } else {
                        step("has a lease", &|then| {
                            then.hosts[at].holds = Holds::Checked { number, attempt }
                        });
                    }
                }
                Holds::Checked { number, attempt } => step("starts the body", &|then| {
                    then.starts = (then.starts + 1).min(most_starts);
                    then.hosts[at].holds = Holds::Runs { number, attempt };
                }),
                Holds::Runs { number, attempt } => step("settles", &|then| {
                    then.hosts[at].holds = Holds::Settles { number, attempt };
                    then.under_way.insert(Message::Settle { session, number, attempt });
                }),
                _ => {}
            }
            if self.rows[at][host.start].silent && self.rows[at][host.start].alive {
                step("beats", &|then| then.rows[at][host.start].silent = false);
            }
            step("is stopped", &|then| then.hosts[at].process = Process::Stopped);
        }
        if host.process != Process::Dead {
            let mut then = self.clone();
            then.hosts[at].process = Process::Dead;
            then.hosts[at].holds = Holds::Nothing;
            steps.push((format!("host {at}.{} is killed", host.start), then));
        }
        if host.process == Process::Stopped {
            let mut then = self.clone();
            then.hosts[at].process = Process::Up;
            if !self.rows[at][host.start].alive {
                // Its next beat tells; what it holds is dropped, but what is under way is under way.
                then.begin_anew(at, rules);
            }
            steps.push((format!("host {at}.{} goes on", host.start), then));
            // Between two instructions, before it has looked at anything: a body that was about to start, starts.
            if let Holds::Checked { number, attempt } = host.holds {
                let mut then = self.clone();
                then.hosts[at].holds = Holds::Runs { number, attempt };
                then.starts = (then.starts + 1).min(most_starts);
                steps.push((format!("host {at}.{} starts the body late", host.start), then));
            }
        }
    }

    fn begin_anew(&mut self, at: usize, rules: &Rules) {
        let host = &mut self.hosts[at];
        host.holds = Holds::Nothing;
        host.claims = rules.claims;
        if host.start + 1 < rules.starts {
            *host = Host { process: host.process, start: host.start + 1, claims: 0, holds: Holds::Nothing };
        }
    }

    /// What others do to a host: restart it, find it silent, declare it dead.
    fn steps_against_host(&self, at: usize, rules: &Rules, steps: &mut Vec<(String, Self)>) {
        let host = &self.hosts[at];
        if host.process == Process::Dead && host.start + 1 < rules.starts {
            let mut then = self.clone();
            then.hosts[at].process = Process::Up;
            then.begin_anew(at, rules);
            steps.push((format!("host {at} is started again"), then));
        }
        for start in 0..=host.start {
            let row = self.rows[at][start];
            let silent = start < host.start || host.process != Process::Up;
            if silent && !row.silent {
                let mut then = self.clone();
                then.rows[at][start].silent = true;
                steps.push((format!("host {at}.{start} was silent for its lease"), then));
            }
            let judge = self.hosts[1 - at].process == Process::Up || start < host.start;
            if row.silent && row.alive && judge {
                let mut then = self.clone();
                then.rows[at][start].alive = false;
                then.rows[at][start].to_recover = true;
                steps.push((format!("host {at}.{start} is declared dead"), then));
            }
        }
    }

    /// After an unanswered claim: makes sure that it cannot commit any more, and adopts it if it did.
    fn find_out(&mut self, session: Session, number: u8, rules: &Rules) {
        let row = &mut self.rows[session.0][session.1];
        if !row.alive {
            return self.begin_anew(session.0, rules);
        }
        if rules.fence_lost_claims {
            row.floor = row.floor.max(number + 1);
        }
        let host = &mut self.hosts[session.0];
        host.holds = Holds::Nothing;
        match &mut self.task {
            Task::Running { session: of, number: held, attempt, .. } if *of == session && *held == number => {
                // Under a number that no claim has had.
                *held = number + 100;
                host.holds = Holds::Claimed { number: *held, attempt: *attempt };
            }
            _ => {}
        }
    }

    fn carry_out(&mut self, message: Message, answered: bool, rules: &Rules) {
        let session = match message {
            Message::Claim { session, .. }
            | Message::Settle { session, .. }
            | Message::Release { session, .. } => session,
        };
        let row = self.rows[session.0][session.1];
        let may = row.alive || !rules.lock_host;
        let mut brought = None;
        match message {
            Message::Claim { number, .. } => {
                if let Task::Pending { attempt, lost } = self.task
                    && may
                    && number >= row.floor
                    && attempt < ATTEMPTS
                {
                    self.writes(session);
                    let must = rules.redeliveries_max == 0 || lost > 0;
                    let flushed = must && rules.durable_claims;
                    let attempt = attempt + 1;
                    self.task = Task::Running { session, number, attempt, lost, flushed };
                    brought = Some(attempt);
                }
            }
            Message::Settle { number, attempt, .. } | Message::Release { number, attempt, .. } => {
                if let Task::Running { session: of, number: held, attempt: current, lost, .. } = self.task {
                    let is_held = (of, held) == (session, number);
                    let matches = match rules.fence {
                        Fence::Claim => is_held,
                        Fence::Attempt => attempt == current,
                        Fence::None => true,
                    };
                    if matches && may {
                        if !is_held {
                            self.wrong = Some("who holds the claim settles");
                        }
                        self.writes(session);
                        self.closed.push(attempt);
                        self.task = match message {
                            Message::Release { .. } if rules.redeliveries_max > 0 => {
                                Task::Pending { attempt, lost }
                            }
                            _ => Task::Done,
                        };
                    }
                }
            }
        }
        let host = &mut self.hosts[session.0];
        if host.start != session.1 || host.process == Process::Dead {
            return;
        }
        host.holds = match (message, host.holds) {
            (Message::Claim { number, .. }, Holds::Asked(asked)) if asked == number => {
                match (answered, brought) {
                    (false, _) => Holds::Unanswered(number),
                    (true, None) => Holds::Nothing,
                    (true, Some(attempt)) => Holds::Claimed { number, attempt },
                }
            }
            // What got no answer is repeated.
            (Message::Settle { number, attempt, .. }, Holds::Settles { number: of, .. }) if of == number => {
                if answered {
                    Holds::Nothing
                } else {
                    Holds::Runs { number, attempt }
                }
            }
            (Message::Release { number, attempt, .. }, Holds::Settles { number: of, .. }) if of == number => {
                if answered {
                    Holds::Nothing
                } else {
                    Holds::Claimed { number, attempt }
                }
            }
            (_, holds) => holds,
        };
    }

    fn writes(&mut self, session: Session) {
        if !self.rows[session.0][session.1].alive {
            self.wrong = self.wrong.or(Some("the dead write nothing"));
        }
    }

    fn steps_of_database(&self, rules: &Rules, steps: &mut Vec<(String, Self)>) {
        // An answer may be given up while its statement is still on its way.
        for message in &self.under_way {
            if let Message::Claim { session, number } = *message
                && self.hosts[session.0].start == session.1
                && self.hosts[session.0].holds == Holds::Asked(number)
            {
                let mut then = self.clone();
                then.hosts[session.0].holds = Holds::Unanswered(number);
                steps.push((format!("host {}.{} loses its connection", session.0, session.1), then));
            }
        }
        let Task::Running { session, attempt, lost, flushed, .. } = self.task else { return };
        if !flushed && !self.crashed {
            let mut then = self.clone();
            then.crashed = true;
            then.task = Task::Pending { attempt: attempt - 1, lost };
            then.under_way.clear();
            for host in &mut then.hosts {
                host.holds = match host.holds {
                    Holds::Asked(number) => Holds::Unanswered(number),
                    Holds::Settles { number, attempt } => Holds::Runs { number, attempt },
                    holds => holds,
                };
            }
            steps.push(("the database crashes and loses the claim".to_owned(), then));
        }
        let row = self.rows[session.0][session.1];
        let somebody = self.hosts.iter().any(|host| host.process == Process::Up);
        if !row.alive && somebody && (rules.recover_again || row.to_recover) {
            let mut then = self.clone();
            then.rows[session.0][session.1].to_recover = false;
            steps.push(("recovery skips the task, which is locked".to_owned(), then.clone()));
            then.closed.push(attempt);
            then.task = match lost < rules.redeliveries_max {
                true => Task::Pending { attempt, lost: lost + 1 },
                false => Task::Done,
            };
            steps.push(("recovery takes the task back".to_owned(), then));
        }
    }
}
