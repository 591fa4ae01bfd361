//! Go's `filepath.Match`, which `COPY` and `ADD` use for their sources.

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a pattern: {why}")]
pub struct PatternError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// One element of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// This character.
    Char(char),
    /// Any character but a slash.
    Any,
    /// Any number of characters, no slash among them.
    Star,
    /// Any number of any characters.
    All,
    /// Nothing, or anything that ends in a slash. Always followed by [`Token::DeepTail`].
    Deep,
    /// The inside of [`Token::Deep`].
    DeepTail,
    /// One of these ranges, or none of them.
    Class(bool, Vec<(char, char)>),
}

/// A pattern of Go's `filepath.Match`: `*`, `?`, `[a-z]`, `[^a]`, `\x`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<Token>);

impl Glob {
    /// Reads a pattern.
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let error = |why| PatternError { pattern: pattern.to_owned(), why };
        let chars: Vec<char> = pattern.chars().collect();
        let mut tokens = Vec::new();
        let mut at = 0;
        while at < chars.len() {
            match chars[at] {
                '*' => tokens.push(Token::Star),
                '?' => tokens.push(Token::Any),
                '[' => {
                    let (class, end) = class(&chars, at + 1).map_err(error)?;
                    tokens.push(class);
                    at = end;
                }
                '\\' => {
                    at += 1;
                    let c = chars.get(at).ok_or_else(|| error("it ends with a backslash"))?;
                    tokens.push(Token::Char(*c));
                }
                c => tokens.push(Token::Char(c)),
            }
            at += 1;
        }
        Ok(Glob(tokens))
    }

    /// Whether the whole of `path` matches.
    pub fn matches(&self, path: &str) -> bool {
        let states = advance(&self.0, start(&self.0), path);
        states[self.0.len()]
    }

    /// Whether the pattern holds anything beside plain characters.
    pub fn has_wildcards(pattern: &str) -> bool {
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            match c {
                '*' | '?' | '[' => return true,
                '\\' => {
                    chars.next();
                }
                _ => {}
            }
        }
        false
    }

    /// Splits a pattern into the directory that holds no wildcard and the rest, as BuildKit walks it.
    pub fn split(pattern: &str) -> (String, String) {
        let mut plain = Vec::new();
        let mut parts = pattern.split('/').peekable();
        while let Some(part) = parts.next_if(|p| !Glob::has_wildcards(p)) {
            plain.push(unescape(part));
        }
        (plain.join("/"), parts.collect::<Vec<_>>().join("/"))
    }
}

/// The text without the backslashes that escape.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

/// Reads a class from behind its bracket; gives the place of the closing one.
pub(crate) fn class(chars: &[char], mut at: usize) -> Result<(Token, usize), &'static str> {
    let negated = chars.get(at) == Some(&'^');
    at += usize::from(negated);
    let mut ranges = Vec::new();
    let one = |at: &mut usize| -> Result<char, &'static str> {
        let mut c = *chars.get(*at).ok_or("the bracket is not closed")?;
        if c == '-' || c == ']' {
            return Err("a range is missing an end");
        }
        if c == '\\' {
            *at += 1;
            c = *chars.get(*at).ok_or("the bracket is not closed")?;
        }
        *at += 1;
        Ok(c)
    };
    loop {
        if chars.get(at) == Some(&']') && !ranges.is_empty() {
            return Ok((Token::Class(negated, ranges), at));
        }
        let low = one(&mut at)?;
        let high = if chars.get(at) == Some(&'-') {
            at += 1;
            one(&mut at)?
        } else {
            low
        };
        ranges.push((low, high));
    }
}

/// The states before any character: `states[i]` says that the first `i` tokens are done.
pub(crate) fn start(tokens: &[Token]) -> Vec<bool> {
    let mut states = vec![false; tokens.len() + 1];
    states[0] = true;
    close(tokens, &mut states);
    states
}

/// The states after `text`; linear in its length.
pub(crate) fn advance(tokens: &[Token], mut states: Vec<bool>, text: &str) -> Vec<bool> {
    for c in text.chars() {
        let mut next = vec![false; tokens.len() + 1];
        for (i, token) in tokens.iter().enumerate().filter(|(i, _)| states[*i]) {
            match token {
                Token::Char(want) => next[i + 1] |= c == *want,
                Token::Any => next[i + 1] |= c != '/',
                Token::Star => next[i] |= c != '/',
                Token::All => next[i] = true,
                Token::Deep => {}
                Token::DeepTail => {
                    next[i] = true;
                    next[i + 1] |= c == '/';
                }
                Token::Class(negated, ranges) => {
                    next[i + 1] |= ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated;
                }
            }
        }
        close(tokens, &mut next);
        states = next;
    }
    states
}

/// Steps over the tokens that may match nothing.
fn close(tokens: &[Token], states: &mut [bool]) {
    for (i, token) in tokens.iter().enumerate() {
        match token {
            Token::Star | Token::All if states[i] => states[i + 1] = true,
            Token::Deep if states[i] => {
                states[i + 1] = true;
                states[i + 2] = true;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the table of Go's `path/filepath/match_test.go`.
    #[test]
    fn the_table_of_go() {
        for (pattern, path, want) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^b-d]", "abc", false),
            ("ab[^e-g]", "abc", true),
            (r"a\*b", "a*b", true),
            (r"a\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            (r"[\]a]", "]", true),
            (r"[\-x]", "x", true),
            ("*x", "xxx", true),
        ] {
            assert_eq!(Glob::parse(pattern).unwrap().matches(path), want, "{pattern} {path}");
        }
        for pattern in ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "a[", "\\"] {
            assert!(Glob::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn patterns_are_split_before_the_first_wildcard() {
        let split = |p| Glob::split(p);
        assert_eq!(split("settings/lms/*.py"), ("settings/lms".to_owned(), "*.py".to_owned()));
        assert_eq!(split("a/b"), ("a/b".to_owned(), String::new()));
        assert_eq!(split("*/b"), (String::new(), "*/b".to_owned()));
        assert_eq!(split(r"a\*/b?"), ("a*".to_owned(), "b?".to_owned()));
    }
}
