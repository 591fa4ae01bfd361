//! Shell patterns inside `${name#pattern}`: `*`, `?` and escapes, no brackets.

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
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Star,
                '?' => Token::Any,
                '\\' => match chars.next() {
                    // These two are escaped only to get past the lexer.
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

    pub(crate) fn trim_prefix(&self, value: &str, longest: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        match pick(self.ends(&chars, 0).into_iter(), longest) {
            Some(end) => chars[end..].iter().collect(),
            None => value.to_owned(),
        }
    }

    pub(crate) fn trim_suffix(&self, value: &str, longest: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let starts = (0..=chars.len()).filter(|&start| self.ends(&chars, start).contains(&chars.len()));
        match pick(starts, !longest) {
            Some(start) => chars[..start].iter().collect(),
            None => value.to_owned(),
        }
    }

    pub(crate) fn replace(&self, value: &str, with: &str, all: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let mut out = String::new();
        let mut at = 0;
        // An empty match right behind a match does not count, as in Go's regexp.
        let mut last_end = None;
        let mut done = false;
        while at <= chars.len() {
            let end = if done { None } else { self.ends(&chars, at).into_iter().max() };
            match end {
                Some(end) if end > at => {
                    out.push_str(with);
                    (at, last_end) = (end, Some(end));
                    done = !all;
                    continue;
                }
                Some(_) if last_end != Some(at) => {
                    out.push_str(with);
                    done = !all;
                }
                _ => {}
            }
            out.extend(chars.get(at));
            at += 1;
        }
        out
    }

    /// Every place where a match that begins at `start` can end, in ascending order.
    fn ends(&self, chars: &[char], start: usize) -> Vec<usize> {
        let mut ends = vec![start];
        for token in &self.0 {
            ends = match token {
                Token::Star => match ends.first() {
                    Some(&first) => (first..=chars.len()).collect(),
                    None => return ends,
                },
                Token::Any => ends.into_iter().filter(|&e| e < chars.len()).map(|e| e + 1).collect(),
                Token::Char(c) => ends.into_iter().filter(|&e| chars.get(e) == Some(c)).map(|e| e + 1).collect(),
            };
        }
        ends
    }
}

fn pick(mut places: impl Iterator<Item = usize>, last: bool) -> Option<usize> {
    if last { places.last() } else { places.next() }
}
