//! Times and sizes as Docker reads and prints them.

use super::error::Fault;

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    // The micro sign and the Greek letter.
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", MINUTE),
    ("h", HOUR),
];

/// Nanoseconds of `1m30s` (Go's `time.ParseDuration`); no time here is negative.
pub(crate) fn duration(text: &str) -> Result<i64, Fault> {
    let bad = || Fault::new(format!("{text:?} is not a time")).hint("write it as 30s, 1m30s or 500ms");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if matches!(rest, "0" | "-0") {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total = 0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == &rest[..end]).ok_or_else(bad)?;
        #[allow(clippy::cast_precision_loss)]
        let scale = *scale as f64;
        total += number * scale;
        rest = &rest[end..];
    }
    #[allow(clippy::cast_possible_truncation)]
    if total >= 9.2e18 { Err(bad()) } else { Ok(total.round() as i64) }
}

/// A time as Go prints it: `1m30s`.
pub(crate) fn show_duration(nanos: i64) -> String {
    let fraction = |value: i64, scale: i64, unit: &str| {
        let digits = scale.ilog10() as usize;
        let text = format!("{}.{:0digits$}", value / scale, value % scale);
        format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match nanos {
        0 => "0s".to_owned(),
        n if n < 1_000 => format!("{n}ns"),
        n if n < 1_000_000 => fraction(n, 1_000, "µs"),
        n if n < 1_000_000_000 => fraction(n, 1_000_000, "ms"),
        n => {
            let (hours, minutes) = (n / HOUR, n % HOUR / MINUTE);
            let seconds = fraction(n % MINUTE, SECOND, "s");
            match (hours, minutes) {
                (0, 0) => seconds,
                (0, m) => format!("{m}m{seconds}"),
                (h, m) => format!("{h}h{m}m{seconds}"),
            }
        }
    }
}

/// Bytes of `64m` (docker/go-units `RAMInBytes`: steps of 1024).
pub(crate) fn bytes(text: &str) -> Result<u64, Fault> {
    let bad = || Fault::new(format!("{text:?} is not a size")).hint("write it as 64m or 1g");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().map_err(|_| bad())?;
    let unit = text[digits..].trim_start().to_lowercase();
    let unit = unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit);
    let power = match unit {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(bad()),
    };
    let total = number * 1024_f64.powi(power);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    if total < 1.8e19 { Ok(total as u64) } else { Err(bad()) }
}

/// A string as Go's `%q` prints it.
pub(crate) fn go_quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        for (text, nanos) in [
            ("30s", 30 * SECOND),
            ("1m30s", 90 * SECOND),
            ("1.5h", 5400 * SECOND),
            ("500ms", SECOND / 2),
            ("+.5s", SECOND / 2),
            ("2\u{3bc}s", 2000),
            ("-0", 0),
        ] {
            assert_eq!(duration(text), Ok(nanos), "{text}");
        }
        assert!(["", "+", "30", "s", ".s", "1x", "-1s", "++1s"].iter().all(|t| duration(t).is_err()));
        for (nanos, text) in
            [(30_000_000_000, "30s"), (90_500_000_000, "1m30.5s"), (3_600_000_000_000, "1h0m0s"), (1_500_000, "1.5ms")]
        {
            assert_eq!(show_duration(nanos), text);
        }
        for (text, size) in [("64m", 64 << 20), ("1.5GiB", 3 << 29), ("10", 10), ("2KB", 2048)] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        assert!(bytes("x").is_err() && bytes("1z").is_err());
    }

    #[test]
    fn quotes_as_go() {
        assert_eq!(go_quote("a\"b\\\n\u{1}é"), "\"a\\\"b\\\\\\n\\x01é\"");
    }
}
