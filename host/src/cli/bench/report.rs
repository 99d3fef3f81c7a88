//! What a bench says.

use std::io::IsTerminal;

use serde_json::{Value, json};

use super::super::exit::Exit;
use super::super::{Context, output};
use super::foreign::Foreign;
use super::measure::{Drain, Idle, Send, Times};

#[derive(Debug)]
pub(super) struct Report {
    pub(super) task: String,
    pub(super) tasks: u32,
    pub(super) slots: u32,
    pub(super) sandbox: bool,
    pub(super) server_version: String,
    pub(super) flush_us: f64,
    pub(super) send: Send,
    pub(super) drain: Drain,
    pub(super) latency: Times,
    pub(super) start: Option<Times>,
    pub(super) foreign: Foreign,
    pub(super) loaded: Times,
    /// Tasks a second that others sent meanwhile: half of what the drain did, or what sending allowed.
    pub(super) beside: f64,
    pub(super) idle: Idle,
}

impl Report {
    /// One line of JSON on stdout; for people who look on, words and a histogram on stderr.
    pub(super) fn show(&self, context: &Context) -> Result<(), Exit> {
        if !context.json() && std::io::stderr().is_terminal() {
            self.tell();
        }
        output::line(self.to_json())
    }

    fn to_json(&self) -> Value {
        let mut told = json!({
            "bench": "hostler",
            "version": env!("CARGO_PKG_VERSION"),
            "server_version": self.server_version,
            "task": self.task,
            "sandbox": self.sandbox,
            "tasks": self.tasks,
            "slots": self.slots,
            "flush_us": self.flush_us,
            "send": self.send,
            "drain": self.drain,
            "latency": {
                "rounds": self.latency.0.len(),
                "result": quantiles(&self.latency),
                "start": self.start.as_ref().map(quantiles),
                "result_of_sql": quantiles(&self.foreign.sql),
                "result_of_sql_with_wake": quantiles(&self.foreign.sql_with_wake),
                "result_of_transaction": quantiles(&self.foreign.transaction),
                "result_of_transaction_with_wake": quantiles(&self.foreign.transaction_with_wake),
                "result_beside_load": quantiles(&self.loaded),
                "load_per_second": self.beside,
            },
            "idle": self.idle,
        });
        round(&mut told);
        told
    }

    fn tell(&self) {
        let Self { task, drain, latency, foreign, loaded, idle, .. } = self;
        output::note(format!(
            "{task}, {} tasks, {} slots, PostgreSQL {}",
            self.tasks, self.slots, self.server_version
        ));
        output::note(format!("send     {:>8.0} tasks/s, in bulk", self.send.per_second));
        output::note(format!("drain    {:>8.0} tasks/s, results and attempts kept", drain.per_second));
        output::note(format!(
            "latency  {:>8.2} ms in the median, {:.2} ms at 99 %",
            latency.at(0.5),
            latency.at(0.99)
        ));
        output::note(format!(
            "         {:>8.2} ms in the median for SQL that wakes, {:.0} ms without; {:.2} and {:.0} for a transaction",
            foreign.sql_with_wake.at(0.5),
            foreign.sql.at(0.5),
            foreign.transaction_with_wake.at(0.5),
            foreign.transaction.at(0.5)
        ));
        output::note(format!(
            "         {:>8.2} ms at 99 % beside {:.0} tasks/s of others",
            loaded.at(0.99),
            self.beside
        ));
        output::note(format!("disk     {:>8.0} µs for a flush; a result takes two", self.flush_us));
        output::note(format!("idle     {:>8.1} transactions/s", idle.transactions_per_second));
        output::note("\nfrom send to result in hand, idle system:");
        for line in histogram(latency) {
            output::note(line);
        }
    }
}

fn quantiles(times: &Times) -> Value {
    json!({ "p50_ms": times.at(0.5), "p99_ms": times.at(0.99), "max_ms": times.at(1.0) })
}

/// Ten steps from the fastest to 99 %, and what is beyond.
fn histogram(times: &Times) -> Vec<String> {
    const STEPS: u8 = 10;
    const WIDTH: usize = 40;
    let (from, to) = (times.at(0.0), times.at(0.99));
    let step = ((to - from) / f64::from(STEPS)).max(0.01);
    let bounds = (1..=STEPS).map(|n| from + step * f64::from(n)).chain([f64::INFINITY]);
    let mut low = f64::NEG_INFINITY;
    let counts: Vec<(f64, usize)> = bounds
        .map(|high| {
            let within = times.0.iter().filter(|time| **time > low && **time <= high).count();
            low = high;
            (high, within)
        })
        .collect();
    let most = counts.iter().map(|(_, n)| *n).max().unwrap_or_default().max(1);
    let line = |(high, n): &(f64, usize)| {
        let name = if high.is_finite() { format!("≤ {high:.2} ms") } else { "beyond".to_owned() };
        format!("{name:>12} {n:>6} {}", "█".repeat((n * WIDTH).div_ceil(most)))
    };
    counts.iter().map(line).collect()
}

/// More digits than the measurement has are noise.
fn round(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(round),
        Value::Number(number) if number.is_f64() => {
            let exact = number.as_f64().unwrap_or_default();
            let digits = if exact.abs() < 100.0 { 100.0 } else { 1.0 };
            *value = json!((exact * digits).round() / digits);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_is_in_the_histogram_once() {
        let times = Times((1..=1_000).map(|n| f64::from(n) / 100.0).collect());
        let lines = histogram(&times);
        let counted: usize = lines
            .iter()
            .filter_map(|line| line.split_whitespace().rev().find_map(|w| w.parse::<usize>().ok()))
            .sum();
        assert_eq!((lines.len(), counted), (11, 1_000));
        assert!((times.at(0.5) - 5.01).abs() < 0.02, "{}", times.at(0.5));
    }

    #[test]
    fn figures_are_rounded_to_what_they_mean() {
        let mut value = json!({"a": 12_345.678, "b": {"c": 1.23456}, "n": 3});
        round(&mut value);
        assert_eq!(value, json!({"a": 12_346.0, "b": {"c": 1.23}, "n": 3}));
    }
}
