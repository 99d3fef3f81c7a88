//! Amounts with units: `1h30m`, `64 MiB`.

/// How durations are written.
pub(crate) const DURATION_RULE: &str =
    "whole numbers with `ms`, `s`, `m`, `h` or `d`, such as \"500ms\" or \"1h30m\"";

/// How sizes are written.
pub(crate) const SIZE_RULE: &str = "a whole number with `B`, `KiB`, `MiB` or `GiB`, such as \"64 MiB\"";

/// A duration in milliseconds.
pub(crate) fn milliseconds(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut sum: u64 = 0;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = leading_number(rest)?;
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let unit = match &after[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        // From large to small and each once, so that "1m1h" and "1s1s" are seen as the slips they are.
        if unit >= smallest {
            return None;
        }
        smallest = unit;
        sum = sum.checked_add(number.checked_mul(unit)?)?;
        rest = after[letters..].trim_start();
    }
    (smallest < u64::MAX).then_some(sum)
}

/// A size in bytes.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = leading_number(text.trim())?;
    let unit = match unit.trim_start() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("0s", 0),
            ("1m 5s", 65_000),
        ] {
            assert_eq!(milliseconds(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "30",
            "s",
            "1.5s",
            "-1s",
            "1m1h",
            "1s1s",
            "5 s s",
            "99999999999999999999s",
            "300000000000d",
            "1é",
        ] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in [("64 MiB", 64 << 20), ("1KiB", 1024), ("0 B", 0), ("4 GiB", 4 << 30)] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for text in ["", "64", "64 MB", "64 mib", "MiB", "99999999999 GiB", "1 GiB 1 MiB"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
