//! Canonical JSON: the same record has the same bytes, and so the same digest, on every machine.
//!
//! It is RFC 8785 (JCS) with one rule more: a number is an integer between -(2^53 - 1) and 2^53 - 1, so that no reader in any language rounds it.
//! That is: UTF-8, no white space, no newline at the end, members sorted by the UTF-16 code units of their names, strings escaped as
//! RFC 8785 section 3.2.2.2 says.

use serde::Serialize;
use serde_json::Value;

/// What canonical JSON cannot hold.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// A number that is no integer, or too large for every reader.
    #[error("the number {0} cannot be in a manifest: only integers up to 2^53 - 1 can")]
    Number(serde_json::Number),
    /// The value is no JSON at all.
    #[error("the record cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The largest integer that a double holds exactly, with all those below it.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Writes a record as canonical JSON.
///
/// # Errors
/// It holds a number that is not an integer, or is too large.
pub fn to_vec<T: Serialize>(record: &T) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::new();
    write(&serde_json::to_value(record)?, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push(b'{');
            for (i, (name, value)) in sorted.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, name)?;
                out.push(b':');
                write(value, out)?;
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Number(number) => {
            let size = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
            if number.is_f64() || size.is_none_or(|n| n > MAX_INTEGER) {
                return Err(CanonicalError::Number(number.clone()));
            }
            serde_json::to_writer(&mut *out, number)?;
        }
        // serde_json escapes strings as RFC 8785 wants: the short forms, and `\u00xx` in lower case for other controls.
        Value::Null | Value::Bool(_) | Value::String(_) => serde_json::to_writer(&mut *out, value)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(value: Value) -> String {
        String::from_utf8(to_vec(&value).unwrap()).unwrap()
    }

    #[test]
    fn members_are_sorted_and_nothing_is_between_them() {
        assert_eq!(
            text(json!({"b": [1, -2, true, null], "a": {"z": "", "y": {}}})),
            r#"{"a":{"y":{},"z":""},"b":[1,-2,true,null]}"#
        );
    }

    #[test]
    fn the_order_is_that_of_the_rfc_example() {
        // RFC 8785, section 3.2.3.
        let value = json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        assert_eq!(
            text(value),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}"
        );
    }

    #[test]
    fn strings_are_escaped_as_the_rfc_says() {
        assert_eq!(text(json!("\u{20ac}$\u{f}\nA'B\"\\\u{7f}/")), "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\u{7f}/\"");
    }

    #[test]
    fn numbers_that_some_reader_would_round_are_refused() {
        for bad in [json!(0.5), json!(1.0), json!(1u64 << 53), json!(u64::MAX), json!(i64::MIN)] {
            assert!(to_vec(&bad).is_err(), "{bad}");
        }
        assert_eq!(text(json!(MAX_INTEGER)), "9007199254740991");
    }
}
