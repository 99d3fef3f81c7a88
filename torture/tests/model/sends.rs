//! One id, sent again and again because no answer came, and one host that runs it. A try is carried out at any later
//! time, also long after its task has ended; what it inserts is seen by others once it has committed.

/// When a send looks for its id in history.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// After its insert, with a snapshot of that moment; what it finds undoes the insert.
    After,
    /// Before its insert.
    Before,
    Never,
}

const TRIES: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Try {
    NotYet,
    UnderWay,
    /// It has looked, and found nothing.
    Looked,
    /// Its row waits for its commit.
    Inserted,
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Task {
    Nowhere,
    /// Inserted by a try that has not committed.
    Uncommitted(usize),
    Pending,
    Running,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State {
    tries: [Try; TRIES],
    /// Tries that the sender waits for no more.
    given_up: [bool; TRIES],
    acknowledged: bool,
    task: Task,
    /// How often it has moved to history.
    ended: u8,
}

impl State {
    pub(crate) fn begin() -> Self {
        let (tries, given_up) = ([Try::NotYet; TRIES], [false; TRIES]);
        Self { tries, given_up, acknowledged: false, task: Task::Nowhere, ended: 0 }
    }

    /// The promise that this state breaks.
    pub(crate) fn broken(&self) -> Option<&'static str> {
        let lives = matches!(self.task, Task::Pending | Task::Running);
        if lives && self.ended > 0 {
            return Some("one id is in one place");
        }
        (self.acknowledged && !lives && self.ended == 0).then_some("what was acknowledged is there")
    }

    /// Every step that somebody can take.
    pub(crate) fn next(&self, look: Look) -> Vec<(String, Self)> {
        let mut steps = Vec::new();
        let mut step = |what: String, change: &dyn Fn(&mut Self)| {
            let mut then = self.clone();
            change(&mut then);
            steps.push((what, then));
        };
        for at in 0..TRIES {
            let due = at == 0 || self.given_up[at - 1];
            match self.tries[at] {
                Try::NotYet if due && !self.acknowledged => {
                    step(format!("try {at} is sent"), &|then| then.tries[at] = Try::UnderWay);
                }
                Try::UnderWay if look == Look::Before && self.ended > 0 => {
                    step(format!("try {at} finds it in history"), &|then| then.end(at));
                }
                Try::UnderWay if look == Look::Before => {
                    step(format!("try {at} looks"), &|then| then.tries[at] = Try::Looked);
                }
                Try::UnderWay | Try::Looked => match self.task {
                    Task::Nowhere => step(format!("try {at} inserts"), &|then| {
                        then.tries[at] = Try::Inserted;
                        then.task = Task::Uncommitted(at);
                    }),
                    // It waits for the other one's end.
                    Task::Uncommitted(_) => {}
                    Task::Pending | Task::Running => {
                        step(format!("try {at} finds it alive"), &|then| then.end(at));
                    }
                },
                Try::Inserted => step(format!("try {at} ends"), &|then| {
                    let undone = look == Look::After && then.ended > 0;
                    then.task = if undone { Task::Nowhere } else { Task::Pending };
                    then.end(at);
                }),
                Try::NotYet | Try::Over => {}
            }
            if !matches!(self.tries[at], Try::NotYet | Try::Over) && !self.given_up[at] {
                step(format!("the sender gives up try {at}"), &|then| then.given_up[at] = true);
            }
        }
        match self.task {
            Task::Pending => step("the host claims it".to_owned(), &|then| then.task = Task::Running),
            Task::Running => step("the host settles it".to_owned(), &|then| {
                then.task = Task::Nowhere;
                then.ended += 1;
            }),
            _ => {}
        }
        steps
    }

    fn end(&mut self, at: usize) {
        self.tries[at] = Try::Over;
        self.acknowledged |= !self.given_up[at];
    }
}
