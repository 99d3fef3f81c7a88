//! What is printed, and where: the answer on stdout, everything else on stderr.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::exit::Exit;

/// One line of the answer, or several. A reader that has gone away (`| head`) is no error.
pub(super) fn line(text: impl Display) -> Result<(), Exit> {
    let text = text.to_string();
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{}", plain(&text)).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Exit::infrastructure(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// A line for people. That nobody can read it is no error.
pub(super) fn note(text: impl Display) {
    let _closed = writeln!(io::stderr().lock(), "{}", plain(&text.to_string()));
}

/// Text that gives a terminal no orders, whoever wrote it. What a string of JSON may hold is written as JSON escapes it, and
/// means the same.
fn plain(text: &str) -> Cow<'_, str> {
    let orders = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(orders) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        match c {
            // In JSON it stands between values alone.
            '\r' => plain.push(' '),
            c if orders(c) => plain += &format!("\\u{:04x}", u32::from(c)),
            c => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

/// Rows in columns, without lines between them: people read them, `awk` too.
pub(super) fn table(head: &[&str], rows: Vec<Vec<String>>) -> Result<(), Exit> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(head.to_vec());
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().try_for_each(|row| line(row.trim_end()))
}

/// `10s`, `1h30m`; the way durations are written in arguments too.
pub(super) fn duration(time: Duration) -> String {
    // What people look at in minutes needs no milliseconds.
    let time = match time.as_secs() {
        0..60 => Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        seconds => Duration::from_secs(seconds),
    };
    humantime::format_duration(time).to_string().replace(' ', "")
}

/// `279 KiB`.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes.div_ceil(1_024)),
        _ => format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20),
    }
}

/// A path as seen from here.
pub(super) fn path(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let short = here.as_ref().and_then(|here| path.strip_prefix(here).ok());
    short.filter(|short| !short.as_os_str().is_empty()).unwrap_or(path).display().to_string()
}

/// Something long is under way; shown on a terminal alone, gone when dropped.
#[derive(Debug)]
pub(super) struct Spinner(ProgressBar);

impl Spinner {
    pub(super) fn start(what: impl Into<String>) -> Self {
        let bar = match io::stderr().is_terminal() {
            true => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
            false => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(what.into());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    pub(super) fn say(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_they_are_written() {
        assert_eq!(duration(Duration::from_secs(10)), "10s");
        assert_eq!(duration(Duration::from_secs(5_400)), "1h30m");
        assert_eq!(duration(Duration::from_micros(1_500_900)), "1s500ms");
        assert_eq!(duration(Duration::from_millis(61_500)), "1m1s");
        assert_eq!(duration(Duration::ZERO), "0s");
    }

    #[test]
    fn a_terminal_gets_no_orders_and_json_keeps_its_meaning() {
        assert_eq!(plain("one\ttwo\n"), "one\ttwo\n");
        assert_eq!(plain("\u{1b}[2J\r\u{9b}31mred\0"), "\\u001b[2J \\u009b31mred\\u0000");
        let json = "{\r\n \"del\": \"\u{7f}\u{85}ü\"}";
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(read(&plain(json)), read(json));
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(
            [0, 1_023, 1_024, 285_000, 5 << 19].map(size),
            ["0 B", "1023 B", "1 KiB", "279 KiB", "2.5 MiB"]
        );
    }
}
