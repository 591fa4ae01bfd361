//! Word splitting and variable expansion, with the rules of BuildKit's `frontend/dockerfile/shell/lex.go`.

use std::sync::LazyLock;

use regex::Regex;

use super::error::Fault;
use super::expand::Found;
use super::pattern::Pattern;
use crate::plan::Env;

/// How a text is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lexer {
    /// The escape character: `\`, or a backquote after `# escape`.
    pub(crate) escape: char,
    /// Keep quotes in the result.
    pub(crate) raw_quotes: bool,
    /// Keep escape characters in the result.
    pub(crate) raw_escapes: bool,
    /// Quotes are ordinary characters.
    pub(crate) ignore_quotes: bool,
    /// Leave unset variables as they are written.
    pub(crate) keep_unset: bool,
    /// `<< EOF` is one word, `<<EOF`.
    pub(crate) heredocs: bool,
}

/// What came out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expanded {
    /// The text, expanded.
    pub(crate) text: String,
    /// The same split at unquoted white space.
    pub(crate) words: Vec<String>,
    /// The variables that were asked for.
    pub(crate) found: Found,
}

impl Lexer {
    pub(crate) fn new(escape: char) -> Self {
        Lexer {
            escape,
            raw_quotes: false,
            raw_escapes: false,
            ignore_quotes: false,
            keep_unset: false,
            heredocs: false,
        }
    }

    pub(crate) fn expand(&self, source: &str, env: &Env) -> Result<Expanded, Fault> {
        let chars = source.chars().collect();
        let mut run = Run { lexer: self, env, chars, at: 0, depth: 0, found: Found::default() };
        let (text, words) = run
            .until(None, self.raw_escapes)
            .map_err(|fault| Fault { message: format!("cannot expand {source:?}: {}", fault.message), ..fault })?;
        Ok(Expanded { text, words, found: run.found })
    }
}

/// Each level takes a part of the stack.
const MAX_DEPTH: usize = 100;

struct Run<'a> {
    lexer: &'a Lexer,
    env: &'a Env,
    chars: Vec<char>,
    at: usize,
    /// How many `${` are open.
    depth: usize,
    found: Found,
}

impl Run<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<(String, Vec<String>), Fault> {
        let mut text = String::new();
        let mut words = Words::default();
        loop {
            let Some(c) = self.peek() else {
                return match stop {
                    None => Ok((text, words.finish())),
                    Some('/') => Err(Fault::new("missing '/' in ${}")),
                    Some(_) => Err(Fault::new("missing '}'")),
                };
            };
            if stop == Some(c) {
                self.at += 1;
                return Ok((text, words.finish()));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|c| words.push(c));
                    text.push_str(&value);
                }
                '\'' | '"' if !self.lexer.ignore_quotes => {
                    let value = if c == '"' { self.double_quoted(raw_escapes)? } else { self.single_quoted()? };
                    words.push_raw(&value);
                    text.push_str(&value);
                }
                c if c == self.lexer.escape => {
                    self.at += 1;
                    if raw_escapes {
                        words.push_raw_char(c);
                        text.push(c);
                    }
                    // An escape at the very end escapes nothing and is dropped.
                    if let Some(next) = self.next() {
                        words.push_raw_char(next);
                        text.push(next);
                    }
                }
                '<' if self.lexer.heredocs && self.chars[self.at..].starts_with(&['<', '<']) => {
                    self.at += 2;
                    while matches!(self.peek(), Some(' ' | '\t')) {
                        self.at += 1;
                    }
                    words.push_raw("<<");
                    text.push_str("<<");
                }
                c => {
                    self.at += 1;
                    words.push(c);
                    text.push(c);
                }
            }
        }
    }

    fn single_quoted(&mut self) -> Result<String, Fault> {
        let mut out = String::new();
        self.keep_quote(&mut out);
        loop {
            match self.peek() {
                None => return Err(Fault::new("the single quote is not closed")),
                Some('\'') => {
                    self.keep_quote(&mut out);
                    return Ok(out);
                }
                Some(c) => {
                    self.at += 1;
                    out.push(c);
                }
            }
        }
    }

    fn double_quoted(&mut self, raw_escapes: bool) -> Result<String, Fault> {
        let mut out = String::new();
        self.keep_quote(&mut out);
        loop {
            match self.peek() {
                None => return Err(Fault::new("the double quote is not closed")),
                Some('"') => {
                    self.keep_quote(&mut out);
                    return Ok(out);
                }
                Some('$') => out.push_str(&self.dollar()?),
                Some(c) if c == self.lexer.escape => {
                    self.at += 1;
                    if raw_escapes {
                        out.push(c);
                    }
                    match self.peek() {
                        None => {}
                        // Only these can be escaped here; before anything else the escape character stands for itself.
                        Some(n) if n == '"' || n == '$' || n == self.lexer.escape => {
                            self.at += 1;
                            out.push(n);
                        }
                        Some(_) => out.push(c),
                    }
                }
                Some(c) => {
                    self.at += 1;
                    out.push(c);
                }
            }
        }
    }

    fn keep_quote(&mut self, out: &mut String) {
        let quote = self.next();
        if self.lexer.raw_quotes {
            out.extend(quote);
        }
    }

    fn dollar(&mut self) -> Result<String, Fault> {
        self.at += 1;
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.get(&name) {
                None if self.lexer.keep_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::new(format!("more than {MAX_DEPTH} substitutions are inside of one another"))
                .hint("set one variable after the other"));
        }
        let value = self.braced();
        self.depth -= 1;
        value
    }

    /// What stands in `${...}`.
    fn braced(&mut self) -> Result<String, Fault> {
        match self.peek() {
            None => return Err(Fault::new("missing '}'")),
            Some('{' | '}' | ':') => return Err(Fault::new("bad substitution")),
            _ => {}
        }
        let name = self.name();
        let Some(operator) = self.next() else {
            return Err(Fault::new("missing '}'"));
        };
        match operator {
            '}' => Ok(match self.get(&name) {
                None if self.lexer.keep_unset => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            }),
            ':' => {
                let Some(operator) = self.next() else {
                    return Err(Fault::new("missing '}'"));
                };
                self.modified(&name, operator, true)
            }
            '/' => self.replaced(&name),
            operator => self.modified(&name, operator, false),
        }
    }

    /// `${name:-word}` and its kin; `null_is_unset` is the colon.
    fn modified(&mut self, name: &str, operator: char, null_is_unset: bool) -> Result<String, Fault> {
        let colon = if null_is_unset { ":" } else { "" };
        if !(if null_is_unset { "+-?" } else { "+-?#%" }).contains(operator) {
            return Err(Fault::new(format!("unsupported modifier ({colon}{operator}) in substitution")));
        }
        let trims = operator == '#' || operator == '%';
        let (word, _) = self.until(Some('}'), trims)?;
        let value = self.get(name);
        if value.is_none() && self.lexer.keep_unset {
            return Ok(format!("${{{name}{colon}{operator}{word}}}"));
        }
        let present = value.as_deref().filter(|v| !(null_is_unset && v.is_empty()));
        match operator {
            '-' => Ok(present.map_or(word, str::to_owned)),
            '+' => Ok(present.map(|_| word).unwrap_or_default()),
            '?' => match present {
                Some(v) => Ok(v.to_owned()),
                None => {
                    let state = if value.is_none() { "unset" } else { "empty" };
                    let message = if word.is_empty() { format!("is not allowed to be {state}") } else { word };
                    Err(Fault::new(format!("{name}: {message}")).hint(format!("give it with --build-arg {name}=...")))
                }
            },
            _ => {
                let value = value.unwrap_or_default();
                let (longest, word) = match word.strip_prefix(operator) {
                    Some(rest) => (true, rest),
                    None => (false, word.as_str()),
                };
                let pattern = Pattern::parse(word)?;
                match operator {
                    '#' => pattern.trim_prefix(&value, longest),
                    _ => pattern.trim_suffix(&value, longest),
                }
            }
        }
    }

    /// `${name/pattern/replacement}` and `${name//pattern/replacement}`.
    fn replaced(&mut self, name: &str) -> Result<String, Fault> {
        let all = self.peek() == Some('/');
        self.at += usize::from(all);
        let (pattern, _) = self.until(Some('/'), true)?;
        let (replacement, _) = self.until(Some('}'), true)?;
        let value = self.get(name);
        if value.is_none() && self.lexer.keep_unset {
            let slashes = if all { "//" } else { "/" };
            return Ok(format!("${{{name}{slashes}{pattern}/{replacement}}}"));
        }
        Pattern::parse(&pattern)?.replace(&value.unwrap_or_default(), &replacement, all)
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if name.is_empty() && is_digit(c) {
                while let Some(d) = self.peek().filter(|d| is_digit(*d)) {
                    self.at += 1;
                    name.push(d);
                }
                return name;
            }
            if name.is_empty() && "@*#?-$!".contains(c) {
                self.at += 1;
                return c.to_string();
            }
            if !is_letter(c) && !is_digit(c) && c != '_' {
                break;
            }
            self.at += 1;
            name.push(c);
        }
        name
    }

    fn get(&mut self, name: &str) -> Option<String> {
        let value = self.env.get(name).map(str::to_owned);
        let found = if value.is_some() { &mut self.found.matched } else { &mut self.found.unset };
        found.insert(name.to_owned());
        value
    }
}

/// Go's `unicode.IsLetter`: fewer than Rust's alphabetic characters.
fn is_letter(c: char) -> bool {
    static LETTER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\p{L}$").expect("a category of Unicode"));
    if c.is_ascii() { c.is_ascii_alphabetic() } else { LETTER.is_match(c.encode_utf8(&mut [0; 4])) }
}

/// Go's `unicode.IsDigit`: fewer than Rust's numeric characters.
fn is_digit(c: char) -> bool {
    static DIGIT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\p{Nd}$").expect("a category of Unicode"));
    if c.is_ascii() { c.is_ascii_digit() } else { DIGIT.is_match(c.encode_utf8(&mut [0; 4])) }
}

#[derive(Default)]
struct Words {
    word: String,
    words: Vec<String>,
}

impl Words {
    fn push(&mut self, c: char) {
        if c.is_whitespace() {
            if !self.word.is_empty() {
                self.words.push(std::mem::take(&mut self.word));
            }
        } else {
            self.word.push(c);
        }
    }

    fn push_raw_char(&mut self, c: char) {
        self.word.push(c);
    }

    fn push_raw(&mut self, text: &str) {
        self.word.push_str(text);
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}
