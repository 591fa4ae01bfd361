//! The forms that arguments take: words with quotes, `name=value`, JSON lists.

use super::error::Fault;

/// Splits at white space outside quotes; quotes and escapes stay for the expander (BuildKit's `parseWords`).
pub(crate) fn quoted(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        if c == escape && quote != Some('\'') {
            // An escape character at the end of the line escapes nothing.
            let Some(next) = chars.next() else { break };
            word.get_or_insert_default().extend([c, next]);
            continue;
        }
        match quote {
            Some(q) if q == c => quote = None,
            None if matches!(c, '\'' | '"') => quote = Some(c),
            _ => {}
        }
        word.get_or_insert_default().push(c);
    }
    words.extend(word);
    words
}

/// A variable or label, and whether it was written in the old form without `=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// The arguments of `ENV` and `LABEL`; `true` for the old form, `NAME value to the end`.
pub(crate) fn pairs(text: &str, instruction: &str, escape: char) -> Result<(Vec<Pair>, bool), Fault> {
    let words = quoted(text, escape);
    let Some(first) = words.first() else {
        return Err(Fault::new(format!("{instruction} needs at least one argument")));
    };
    if !first.contains('=') {
        let Some((name, value)) = text.split_once([' ', '\t', '\u{b}', '\u{c}', '\r']) else {
            return Err(Fault::new(format!("{instruction} {text} has no value"))
                .hint(format!("write {instruction} {text}=...")));
        };
        let pair = Pair { name: name.to_owned(), value: value.trim_start().to_owned() };
        return Ok((vec![pair], true));
    }
    let pairs = words.iter().map(|word| match word.split_once('=') {
        Some(("", _)) => Err(Fault::new(format!("{instruction}: the name before {word:?} is missing"))),
        Some((name, value)) => Ok(Pair { name: name.to_owned(), value: value.to_owned() }),
        None => Err(Fault::new(format!("there is no = in {word:?}"))
            .hint(format!("{instruction} takes NAME=VALUE; put quotes around a value with spaces"))),
    });
    Ok((pairs.collect::<Result<_, _>>()?, false))
}

/// Splits at white space.
pub(crate) fn plain(text: &str) -> Vec<String> {
    text.split([' ', '\t', '\u{b}', '\u{c}', '\r']).filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

/// A JSON list of strings. `None`: it is not JSON and so in shell form; an error: a list of something else.
pub(crate) fn json_list(text: &str) -> Option<Result<Vec<String>, Fault>> {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return None;
    }
    let read = |text: &str| serde_json::from_str::<Vec<serde_json::Value>>(text).ok();
    let values = read(text).or_else(|| read(&without_lone_surrogates(text)))?;
    let strings = values.into_iter().map(|value| match value {
        serde_json::Value::String(s) => Ok(s),
        other => Err(Fault::new(format!("{other} is not a string: the JSON form takes strings only"))),
    });
    Some(strings.collect())
}

/// Go reads half of a surrogate pair as U+FFFD, where `serde_json` has an error.
fn without_lone_surrogates(text: &str) -> String {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))
    };
    let mut out = String::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let (taken, put) = match (c, unit(at)) {
            ('\\', Some(0xd800..=0xdbff)) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => (12, &text[at..at + 12]),
            ('\\', Some(0xd800..=0xdfff)) => (6, "\\ufffd"),
            // Whatever is escaped is not looked at again.
            ('\\', None) => {
                let escaped = text[at + 1..].chars().next().map_or(0, char::len_utf8);
                (1 + escaped, &text[at..at + 1 + escaped])
            }
            _ => (c.len_utf8(), &text[at..at + c.len_utf8()]),
        };
        out.push_str(put);
        at += taken;
    }
    out
}

/// A JSON list or words.
pub(crate) fn json_or_words(text: &str) -> Result<Vec<String>, Fault> {
    json_list(text).unwrap_or_else(|| Ok(plain(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> Pair {
        Pair { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn words_keep_their_quotes() {
        assert_eq!(quoted(r#"a="b c" d\ e 'f g'h """#, '\\'), [r#"a="b c""#, r"d\ e", "'f g'h", r#""""#]);
    }

    #[test]
    fn env_has_an_old_and_a_new_form() {
        assert_eq!(pairs("a=1 b=\"2 3\"", "ENV", '\\'), Ok((vec![pair("a", "1"), pair("b", "\"2 3\"")], false)));
        assert_eq!(pairs("a  1 b=2", "ENV", '\\'), Ok((vec![pair("a", "1 b=2")], true)));
        assert!(pairs("a=1 b", "ENV", '\\').is_err());
        assert!(pairs("a", "ENV", '\\').is_err());
        assert!(pairs("=1", "ENV", '\\').is_err());
    }

    #[test]
    fn json_that_is_broken_is_shell_form() {
        assert_eq!(json_list(r#"["a", "b"]"#), Some(Ok(vec!["a".to_owned(), "b".to_owned()])));
        assert_eq!(json_list("['a']"), None);
        let odd = r#"["\ud800", "\udc00x", "\ud83d\ude00", "\\ud800", "é"]"#;
        let read = ["\u{fffd}", "\u{fffd}x", "\u{1f600}", r"\ud800", "é"].map(str::to_owned);
        assert_eq!(json_list(odd), Some(Ok(read.to_vec())));
        assert_eq!(json_list("[ -e x ] && y"), None);
        assert!(json_list("[1]").unwrap().is_err());
    }
}
