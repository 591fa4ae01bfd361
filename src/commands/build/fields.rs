//! `key=value,key=value`: a line of CSV, as buildx reads it. A field with a comma in it stands in quotes.

use super::flags::wrong;
use crate::failure::Result;

/// The fields of a value.
pub fn words(flag: &str, text: &str) -> Result<Vec<String>> {
    let mut records = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes()).into_records();
    let first = match records.next() {
        None => return Ok(Vec::new()),
        Some(record) => record.map_err(|e| wrong(flag, text, &format!("comma-separated fields ({e})")))?,
    };
    match records.next() {
        None => Ok(first.iter().map(str::to_owned).collect()),
        Some(_) => Err(wrong(flag, text, "one line")),
    }
}

/// The fields of a value as keys, in lower case, and what they are set to.
pub fn fields(flag: &str, text: &str) -> Result<Vec<(String, String)>> {
    let pair = |word: String| {
        let (key, value) = word.split_once('=').ok_or_else(|| wrong(flag, text, "KEY=VALUE,KEY=VALUE"))?;
        Ok((key.trim().to_lowercase(), value.to_owned()))
    };
    words(flag, text)?.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_stand_in_quotes() {
        let pairs = |text| fields("--x", text).unwrap();
        let own = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(pairs("id=a,SRC=b c"), [own("id", "a"), own("src", "b c")]);
        assert_eq!(pairs("\"id=a,b\", env=\"\""), [own("id", "a,b"), own("env", "\"\"")]);
        assert_eq!(pairs("a=b=c,d="), [own("a", "b=c"), own("d", "")]);
        assert!(pairs("").is_empty());
        for text in ["a", "a=b,c", "a=b\nc=d"] {
            assert!(fields("--x", text).is_err(), "{text}");
        }
    }
}
