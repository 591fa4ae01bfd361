//! `.dockerignore`, with the semantics of `moby/patternmatcher`.

use crate::glob::{self, PatternError, Token};

/// The rules of a `.dockerignore`, or of `--exclude`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnoreRules(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    /// `!`: what matches is taken in again.
    keeps: bool,
    /// As written, cleaned.
    pattern: String,
    tokens: Vec<Token>,
    simple: Option<Simple>,
}

/// A rule that a comparison of strings decides. Nearly all are, and a context has tens of thousands of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Simple {
    /// `a/b`
    Exactly(String),
    /// `**/a`
    AtAnyDepth(String),
    /// `**/*.pyc`
    Suffix(String),
}

impl Simple {
    fn of(pattern: &str) -> Option<Self> {
        let plain = |text: &str| !text.contains(['*', '?', '[', '\\']);
        if plain(pattern) {
            return Some(Self::Exactly(pattern.to_owned()));
        }
        let rest = pattern.strip_prefix("**/")?;
        match rest.strip_prefix('*') {
            None if plain(rest) => Some(Self::AtAnyDepth(rest.to_owned())),
            Some(suffix) if plain(suffix) && !suffix.contains('/') => Some(Self::Suffix(suffix.to_owned())),
            _ => None,
        }
    }

    fn covers(&self, path: &str) -> bool {
        match self {
            Self::Exactly(all) => path == all,
            Self::AtAnyDepth(end) => {
                path.strip_suffix(end.as_str()).is_some_and(|dir| dir.is_empty() || dir.ends_with('/'))
            }
            Self::Suffix(suffix) => path.ends_with(suffix.as_str()),
        }
    }
}

impl IgnoreRules {
    /// Reads the text of a `.dockerignore`.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self::from_patterns(text.lines().filter(|line| !line.starts_with('#')))
    }

    /// Reads patterns that stand alone, such as those of `--exclude`.
    pub fn from_patterns<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, PatternError> {
        let mut rules = Vec::new();
        for line in patterns {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let (keeps, pattern) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            if pattern.is_empty() {
                return Err(PatternError {
                    pattern: line.to_owned(),
                    why: "there is nothing behind the exclamation mark",
                });
            }
            let cleaned = crate::dockerfile::path::clean(pattern);
            let relative = match cleaned.strip_prefix('/') {
                Some(rest) if !rest.is_empty() => rest,
                _ => &cleaned,
            };
            rules.push(Rule {
                keeps,
                pattern: relative.to_owned(),
                tokens: compile(relative)?,
                simple: Simple::of(relative),
            });
        }
        Ok(IgnoreRules(rules))
    }

    /// Whether no rule is there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a rule takes in again what others leave out.
    pub fn has_exceptions(&self) -> bool {
        self.0.iter().any(|rule| rule.keeps)
    }

    /// Whether a rule leaves out all that there is: `*`, `**` or `**/*`.
    pub fn leave_nothing(&self) -> bool {
        self.0.iter().any(|rule| !rule.keeps && matches!(rule.pattern.as_str(), "*" | "**" | "**/*"))
    }

    /// Whether a path (relative to the context, with slashes) is left out.
    ///
    /// The last rule that matches decides, and a rule that matches a directory goes for all below it. As in the walk that
    /// Docker does (`MatchesUsingParentResults`), a rule is only looked at where it would change the outcome so far: `!dir`
    /// behind `**/x` does not match `dir`, which is not left out, and so does not bring `dir/x` back.
    pub fn matches(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let mut matched = vec![false; self.0.len()];
        let mut out = false;
        for end in ends {
            out = false;
            for (rule, matched) in self.0.iter().zip(&mut matched) {
                *matched = *matched || (rule.keeps == out && rule.covers(&path[..end]));
                if *matched {
                    out = !rule.keeps;
                }
            }
        }
        out
    }

    /// Whether everything below the directory is left out, so that it need not be walked.
    pub fn prunes(&self, directory: &str) -> bool {
        let inside = format!("{directory}/");
        self.matches(directory) && !self.0.iter().any(|rule| rule.keeps && rule.reaches(&inside))
    }
}

impl Rule {
    fn covers(&self, path: &str) -> bool {
        if let Some(simple) = &self.simple {
            return simple.covers(path);
        }
        glob::advance(&self.tokens, glob::start(&self.tokens), path)[self.tokens.len()]
    }

    /// Whether some longer path that begins with `prefix` could match.
    fn reaches(&self, prefix: &str) -> bool {
        glob::advance(&self.tokens, glob::start(&self.tokens), prefix).contains(&true)
    }
}

/// The translation that `patternmatcher` makes into a regular expression, here into tokens.
fn compile(pattern: &str) -> Result<Vec<Token>, PatternError> {
    // It checks the syntax with filepath.Match first.
    glob::Glob::parse(pattern)?;
    let chars: Vec<char> = pattern.chars().collect();
    // `**foo` without another wildcard is a plain suffix there: it matches `a/xfoo` too.
    let suffix_only =
        pattern.strip_prefix("**").is_some_and(|rest| !rest.starts_with('/') && !rest.contains(['*', '?', '[', '\\']));
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        match chars[at] {
            '*' if chars.get(at + 1) == Some(&'*') => {
                at += 1;
                if chars.get(at + 1) == Some(&'/') {
                    at += 1;
                }
                if at + 1 == chars.len() || (suffix_only && at == 1) {
                    tokens.push(Token::All);
                } else {
                    tokens.extend([Token::Deep, Token::DeepTail]);
                }
            }
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(Token::Any),
            '[' => {
                let error = |why| PatternError { pattern: pattern.to_owned(), why };
                let (class, end) = glob::class(&chars, at + 1).map_err(error)?;
                tokens.push(class);
                at = end;
            }
            '\\' => {
                at += 1;
                tokens.extend(chars.get(at).map(|c| escaped(*c)));
            }
            c => tokens.push(Token::Char(c)),
        }
        at += 1;
    }
    Ok(tokens)
}

/// A character behind a backslash. It goes into the regular expression with it, where a letter is not itself.
fn escaped(c: char) -> Token {
    match c {
        't' => Token::Char('\t'),
        'd' => Token::Class(false, vec![('0', '9')]),
        'w' => Token::Class(false, vec![('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
        's' => Token::Class(false, vec![('\t', '\n'), ('\u{c}', '\r'), (' ', ' ')]),
        // Boundaries, control characters and mistakes: no name has what they match.
        c if c.is_ascii_alphanumeric() => Token::Class(false, Vec::new()),
        c => Token::Char(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparing_strings_decides_as_the_pattern_does() {
        let patterns = ["a", "a/b", "**/a", "**/a/b", "**/*.pyc", "**/*", "**/.git", "**/*a"];
        let paths = [
            "a", "b", "a/b", "x/a", "x/a/b", "xa", "x/ya", "a/x", "x.pyc", "d/x.pyc", ".pyc", "d/.pyc", "x.pyc/d",
            ".git", "q/.git",
        ];
        for pattern in patterns {
            let rule = &IgnoreRules::from_patterns([pattern]).unwrap().0[0];
            let simple = rule.simple.as_ref().unwrap_or_else(|| panic!("{pattern} is simple"));
            for path in paths {
                let slow = glob::advance(&rule.tokens, glob::start(&rule.tokens), path)[rule.tokens.len()];
                assert_eq!(simple.covers(path), slow, "{pattern} on {path}");
            }
        }
    }

    fn rules(text: &str) -> IgnoreRules {
        IgnoreRules::parse(text).unwrap()
    }

    /// From the tables of `patternmatcher_test.go` and the reference.
    #[test]
    fn single_patterns() {
        for (pattern, path, want) in [
            ("**", "file", true),
            ("**/", "dir/file", true),
            ("**", "dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir", false),
            ("dir/**", "dir/dir2/file", true),
            ("dir/", "dir/file", true),
            ("/dir", "dir/file", true),
            ("./dir", "dir", true),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/*", "dir/dir2/dir2/file", true),
            ("**file", "file", true),
            ("**file", "dir/file", true),
            ("**file", "dir/xfile", true),
            ("**/file", "dir/dir/file", true),
            ("**/file", "dir/xfile", false),
            ("**/file*", "dir/dir/file.txt", true),
            ("**/file*txt", "dir/dir/file.txt", true),
            ("**/*.txt", "dir/a.txt", true),
            ("**/**/*.txt", "dir/dir/a.txt", true),
            ("a**/*.txt", "a/dir/file.txt", true),
            ("a[b-d]e", "ace", true),
            ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
            ("*.md", "README.md", true),
            ("*.md", "docs/README.md", false),
            ("*/temp*", "a/temporary.txt", true),
            ("*/*/temp*", "a/temp", false),
            ("temp?", "tempa", true),
            ("temp?", "temp", false),
            ("abc.def", "abcxdef", false),
            (r"a\*b", "a*b", true),
            // Seen with Docker 28.
            (r"a\tb", "atb", false),
            (r"\d", "d", false),
            (r"\d", "7", true),
            (r"build\Debug", "buildDebug", false),
            ("a/../b", "b", true),
        ] {
            assert_eq!(rules(pattern).matches(path), want, "{pattern} {path}");
        }
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let r = rules("# c\n*.md\n!README*.md\nREADME-secret.md\n");
        assert!(r.matches("x.md") && !r.matches("README-a.md") && r.matches("README-secret.md"));
        let r = rules("dir\n!dir/keep\n");
        assert!(r.matches("dir/a") && !r.matches("dir/keep/b"));
        // Seen with Docker 28.
        let r = rules("**/.env\n!/d\n");
        assert!(r.matches("d/.env") && r.matches("d/a/.env") && !r.matches("d/x"));
        let r = rules("!dir/keep\ndir\n");
        assert!(r.matches("dir/keep"));
        let r = rules("*\n!src\nsrc/*.pyc\n");
        assert!(!r.matches("src/a.py") && r.matches("src/a.pyc") && r.matches("b"));
        assert!(IgnoreRules::parse("!").is_err() && IgnoreRules::parse("[").is_err());
    }

    #[test]
    fn directories_are_pruned_when_nothing_below_can_come_back() {
        let r = rules("node_modules\n.git\n!src/x\n");
        assert!(r.prunes("node_modules") && r.prunes(".git") && !r.prunes("src"));
        let r = rules("*\n!a/b/c\n");
        assert!(!r.prunes("a") && !r.prunes("a/b") && r.prunes("a/x") && r.prunes("z"));
        let r = rules("*\n!**/keep\n");
        assert!(!r.prunes("z"));
        let r = rules("a\n!*.md\n");
        assert!(r.prunes("a"));
    }
}
