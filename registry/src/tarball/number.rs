//! Numbers in headers.

/// A number field: octal digits between blanks and NULs, or base 256 when the first bit is set (GNU). Empty is 0.
pub(super) fn number(field: &[u8]) -> Result<i64, String> {
    if field[0] & 0x80 != 0 {
        // Two's complement over the whole field without the marking bit, whose neighbour is the sign.
        let negative = field[0] & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (i, byte) in field.iter().enumerate() {
            let byte = if i == 0 { if negative { byte | 0x80 } else { byte & 0x7f } } else { *byte };
            value = (value << 8) | i128::from(byte);
        }
        return i64::try_from(value).map_err(|_| "a number is too large".to_owned());
    }
    let mut value: i64 = 0;
    for byte in field.iter().skip_while(|b| **b == b' ' || **b == 0) {
        match byte {
            b'0'..=b'7' => value = value.checked_mul(8).ok_or("a number is too large")? + i64::from(byte - b'0'),
            b' ' | 0 => break,
            _ => return Err("a number is not octal".into()),
        }
    }
    Ok(value)
}

/// Decimal digits of a PAX record.
pub(super) fn decimal(text: &[u8]) -> Result<u64, String> {
    let bad = || format!("`{}` is no number", String::from_utf8_lossy(text));
    std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or_else(bad)
}

/// Seconds with an optional fraction, as seconds rounded down and nanoseconds.
pub(super) fn time(text: &[u8]) -> Result<(i64, u32), String> {
    let bad = || format!("`{}` is no time", String::from_utf8_lossy(text));
    let text = std::str::from_utf8(text).map_err(|_| bad())?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| bad())?;
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanos: u32 = digits.parse().map_err(|_| bad())?;
    if whole.starts_with('-') && nanos > 0 {
        Ok((seconds.saturating_sub(1), 1_000_000_000 - nanos))
    } else {
        Ok((seconds, nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_and_base_256() {
        assert_eq!(number(b"0000644\0").unwrap(), 0o644);
        assert_eq!(number(b"   644 \0").unwrap(), 0o644);
        assert_eq!(number(b"\0\0\0\0\0\0\0\0").unwrap(), 0);
        assert_eq!(number(b"\x80\0\0\0\0\0\0\0\0\0\x01\0").unwrap(), 256);
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfb").unwrap(), -5);
        assert!(number(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
        assert!(number(b"00009\0\0\0").is_err());
    }

    #[test]
    fn times_with_fractions_also_before_1970() {
        assert_eq!(time(b"12.5").unwrap(), (12, 500_000_000));
        assert_eq!(time(b"12").unwrap(), (12, 0));
        assert_eq!(time(b"-1.25").unwrap(), (-2, 750_000_000));
        assert_eq!(time(b"-0.25").unwrap(), (-1, 750_000_000));
        assert!(time(b"x").is_err() && time(b"1.x").is_err());
    }
}
