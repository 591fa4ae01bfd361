//! `--name=value` words behind an instruction.

use super::error::Fault;

/// Takes the flags off the front, as BuildKit's `extractBuilderFlags` does: quotes and backslashes are processed here.
pub(crate) fn extract(line: &str) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start();
        if !rest.starts_with("--") {
            return (flags, rest);
        }
        let (word, after) = take_word(rest);
        rest = after;
        if word == "--" {
            return (flags, rest);
        }
        flags.push(word);
    }
}

fn take_word(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => return (word, &text[at..]),
            (None, '\'' | '"') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            (_, '\\') => word.extend(chars.next().map(|(_, c)| c)),
            (_, c) => word.push(c),
        }
    }
    (word, "")
}

/// The flags of one instruction, taken one after the other; [`Flags::finish`] complains of those that nobody took.
#[derive(Debug)]
pub(crate) struct Flags {
    left: Vec<(String, Option<String>)>,
    known: Vec<&'static str>,
}

impl Flags {
    pub(crate) fn new(words: &[String]) -> Self {
        let left = words
            .iter()
            .map(|word| {
                let word = &word[2..];
                match word.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (word.to_owned(), None),
                }
            })
            .collect();
        Flags { left, known: Vec::new() }
    }

    /// Every value of a flag that can be repeated.
    pub(crate) fn strings(&mut self, name: &'static str) -> Result<Vec<String>, Fault> {
        self.known.push(name);
        let (mine, left): (Vec<_>, Vec<_>) = self.left.drain(..).partition(|(n, _)| n == name);
        self.left = left;
        mine.into_iter()
            .map(|(_, value)| {
                value.ok_or_else(|| Fault::new(format!("--{name} needs a value")).hint(format!("write --{name}=...")))
            })
            .collect()
    }

    /// The value of a flag.
    pub(crate) fn string(&mut self, name: &'static str) -> Result<Option<String>, Fault> {
        let mut values = self.strings(name)?;
        if values.len() > 1 {
            return Err(Fault::new(format!("--{name} is given more than once")));
        }
        Ok(values.pop())
    }

    /// A flag that is on when named; `None` when it is not there.
    pub(crate) fn switch(&mut self, name: &'static str) -> Result<Option<bool>, Fault> {
        for (n, value) in &mut self.left {
            if n == name && value.is_none() {
                *value = Some("true".to_owned());
            }
        }
        match self.string(name)?.map(|v| v.to_lowercase()).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(Fault::new(format!("--{name} is true or false, not {other:?}"))),
        }
    }

    /// Whatever is left is nobody's business.
    pub(crate) fn ignore(&mut self) {
        self.left.clear();
    }

    /// An error when a flag is left.
    pub(crate) fn finish(self, instruction: &str) -> Result<(), Fault> {
        let Some((name, _)) = self.left.first() else { return Ok(()) };
        let fault = Fault::new(format!("{instruction} has no flag --{name}"));
        let known: Vec<String> = self.known.iter().map(|k| format!("--{k}")).collect();
        Err(fault.suggest(&format!("--{name}"), known.iter().map(String::as_str)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_end_at_the_first_other_word() {
        let (flags, rest) = extract("--from=a --chown=\"x y\" --mount=type=bind,from='b c' src --link dst");
        assert_eq!(flags, ["--from=a", "--chown=x y", "--mount=type=bind,from=b c"]);
        assert_eq!(rest, "src --link dst");
        assert_eq!(extract("--a -- --b").1.trim(), "--b");
        assert_eq!(extract("-x --y"), (vec![], "-x --y"));
    }

    #[test]
    fn unknown_flags_get_a_suggestion() {
        let mut flags = Flags::new(&["--chwon=1".to_owned()]);
        flags.string("chown").unwrap();
        let fault = flags.finish("COPY").unwrap_err();
        assert_eq!(fault.hint.as_deref(), Some("did you mean --chown?"));
        assert!(Flags::new(&["--from".to_owned()]).string("from").is_err());
        assert!(Flags::new(&["--link=maybe".to_owned()]).switch("link").is_err());
        assert_eq!(Flags::new(&["--link".to_owned()]).switch("link"), Ok(Some(true)));
    }
}
