//! Shell patterns inside `${name#pattern}`: `*`, `?` and escapes, no brackets. As in BuildKit (`convertShellPatternToRegex`) a
//! pattern becomes a regular expression, so that a wildcard ends at a line's end and the time is linear.

// The small one: a Dockerfile has many patterns, each used once on a few bytes, so that compiling them is all that counts.
use regex_lite::Regex;

use super::error::Fault;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Star,
    Any,
    Char(char),
}

/// A pattern.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(Vec<Token>);

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Star,
                '?' => Token::Any,
                '\\' => match chars.next() {
                    // The first two are escaped only to get past the lexer.
                    Some(c @ ('}' | '/' | '*' | '?' | '\\')) => Token::Char(c),
                    other => {
                        let shown = other.map(String::from).unwrap_or_default();
                        return Err(Fault::new(format!("invalid escape '\\{shown}' in the pattern {text:?}")));
                    }
                },
                c => Token::Char(c),
            });
        }
        Ok(Pattern(tokens))
    }

    pub(crate) fn trim_prefix(&self, value: &str, longest: bool) -> Result<String, Fault> {
        let found = regex(self.0.iter(), longest, true)?.find(value).map_or(0, |found| found.end());
        Ok(value[found..].to_owned())
    }

    /// As BuildKit, trims the prefix of what is turned round.
    pub(crate) fn trim_suffix(&self, value: &str, longest: bool) -> Result<String, Fault> {
        let turned: String = value.chars().rev().collect();
        let found = regex(self.0.iter().rev(), longest, true)?.find(&turned).map_or(0, |found| found.end());
        Ok(value[..value.len() - found].to_owned())
    }

    pub(crate) fn replace(&self, value: &str, with: &str, all: bool) -> Result<String, Fault> {
        let regex = regex(self.0.iter(), true, false)?;
        let mut out = String::new();
        let mut at = 0;
        for found in regex.find_iter(value).take(if all { usize::MAX } else { 1 }) {
            out.push_str(&value[at..found.start()]);
            match all {
                true => expand_template(&mut out, with, found.as_str()),
                false => out.push_str(with),
            }
            at = found.end();
        }
        out.push_str(&value[at..]);
        Ok(out)
    }
}

fn regex<'t>(tokens: impl Iterator<Item = &'t Token>, longest: bool, anchored: bool) -> Result<Regex, Fault> {
    let mut text = String::from(if anchored { "^" } else { "" });
    for token in tokens {
        match token {
            Token::Star if longest => text.push_str(".*"),
            Token::Star => text.push_str(".*?"),
            Token::Any => text.push('.'),
            Token::Char(c) => text.push_str(&regex_lite::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&text).map_err(|_| Fault::new("the pattern of the substitution is too long"))
}

/// The replacement of `//` is a template of Go's `Regexp.Expand`, of which a pattern can only have `$0` and `$$`: other names
/// are groups that are not there.
fn expand_template(out: &mut String, template: &str, found: &str) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let word = |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        let (name, next) = match after.strip_prefix('{') {
            Some(braced) => {
                let end = word(braced);
                (&braced[..end], braced[end..].strip_prefix('}'))
            }
            None => after.split_at_checked(word(after)).map_or(("", None), |(name, next)| (name, Some(next))),
        };
        match next {
            Some(next) if !name.is_empty() => {
                if name.bytes().all(|digit| digit == b'0') {
                    out.push_str(found);
                }
                rest = next;
            }
            // No name: the dollar sign is text.
            _ => {
                out.push('$');
                rest = after;
            }
        }
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_end_at_the_end_of_a_line() {
        let pattern = |text| Pattern::parse(text).unwrap();
        assert_eq!(pattern("a*b").trim_prefix("a\nb", true).unwrap(), "a\nb");
        assert_eq!(pattern("a?b").trim_prefix("a\nb", true).unwrap(), "a\nb");
        assert_eq!(pattern("*").trim_suffix("a\nbc", true).unwrap(), "a\n");
        assert_eq!(pattern("b*").replace("b1\nb2\n", "x", true).unwrap(), "x\nx\n");
        assert_eq!(pattern("b*").replace("b1\nb2\n", "x", false).unwrap(), "x\nb2\n");
    }

    #[test]
    fn a_replacement_of_all_is_a_template_and_one_of_the_first_is_not() {
        let replaced = |with, all| Pattern::parse("b").unwrap().replace("abc", with, all).unwrap();
        for (with, want) in [
            ("$1", "ac"),
            ("<$0>", "a<b>c"),
            ("${0}1", "ab1c"),
            ("$0x", "ac"),
            ("$$1", "a$1c"),
            ("$-", "a$-c"),
            ("${", "a${c"),
            ("$", "a$c"),
        ] {
            assert_eq!(replaced(with, true), want, "{with}");
            assert_eq!(replaced(with, false), format!("a{with}c"));
        }
    }

    /// It took the cube of this length before.
    #[test]
    fn long_values_take_no_long_time() {
        let value = "ab".repeat(50_000);
        let pattern = Pattern::parse("*a*b*c").unwrap();
        assert_eq!(pattern.trim_suffix(&value, true).unwrap(), value);
        assert_eq!(pattern.replace(&value, "", true).unwrap(), value);
        assert_eq!(Pattern::parse("a?").unwrap().replace(&value, "x", true).unwrap().len(), 50_000);
        assert!(Pattern::parse(&"?".repeat(1_000_000)).unwrap().trim_prefix("a", true).is_err());
    }
}
