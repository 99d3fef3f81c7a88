//! Breadth first through every state that can be reached; the first wrong one is reached by the fewest steps.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A promise that breaks, and how.
pub(crate) struct Broken {
    pub(crate) promise: &'static str,
    pub(crate) steps: Vec<String>,
    /// How many states were seen before.
    pub(crate) states: usize,
}

/// What was found.
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) broken: Option<Broken>,
}

/// Explores from here on; `next` gives each step a name.
pub(crate) fn explore<S: Clone + Eq + Hash>(
    begin: S,
    next: impl Fn(&S) -> Vec<(String, S)>,
    broken: impl Fn(&S) -> Option<&'static str>,
) -> Explored {
    let mut numbers: HashMap<S, usize> = HashMap::from([(begin.clone(), 0)]);
    let mut came_from: Vec<(usize, String)> = vec![(0, String::new())];
    let mut waiting = VecDeque::from([begin]);
    while let Some(state) = waiting.pop_front() {
        let number = numbers[&state];
        if let Some(promise) = broken(&state) {
            let (mut steps, mut at) = (Vec::new(), number);
            while at != 0 {
                let (before, step) = &came_from[at];
                steps.push(step.clone());
                at = *before;
            }
            steps.reverse();
            let states = numbers.len();
            let broken = Some(Broken { promise, steps, states });
            return Explored { states, broken };
        }
        for (step, reached) in next(&state) {
            if !numbers.contains_key(&reached) {
                numbers.insert(reached.clone(), came_from.len());
                came_from.push((number, step));
                waiting.push_back(reached);
            }
        }
    }
    Explored { states: numbers.len(), broken: None }
}
