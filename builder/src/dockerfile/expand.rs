//! Expansion with the warnings that go with it.

use std::collections::BTreeSet;

use super::error::Fault;
use super::lex::Lexer;
use crate::plan::Env;

/// Which variables a word asked for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Those that are set.
    pub(crate) matched: BTreeSet<String>,
    /// Those that are not.
    pub(crate) unset: BTreeSet<String>,
}

/// The variables in sight and how text is read.
pub(crate) struct Scope<'a> {
    pub(crate) escape: char,
    pub(crate) env: &'a Env,
    /// What was asked for, word by word.
    pub(crate) found: Vec<Found>,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(escape: char, env: &'a Env) -> Self {
        Scope { escape, env, found: Vec::new() }
    }

    /// One word to one word.
    pub(crate) fn word(&mut self, text: &str) -> Result<String, Fault> {
        let expanded = Lexer::new(self.escape).expand(text, self.env)?;
        self.found.push(expanded.found);
        Ok(expanded.text)
    }

    /// Text to words, split after expansion. As in BuildKit nobody hears of variables that are not there.
    pub(crate) fn words(&mut self, text: &str) -> Result<Vec<String>, Fault> {
        Ok(Lexer::new(self.escape).expand(text, self.env)?.words)
    }

    /// The text of a here-document: quotes mean nothing and the escape character is always a backslash.
    pub(crate) fn document(&mut self, text: &str) -> Result<String, Fault> {
        let mut lexer = Lexer::new('\\');
        lexer.ignore_quotes = true;
        let expanded = lexer.expand(text, self.env)?;
        self.found.push(expanded.found);
        Ok(expanded.text)
    }

    pub(crate) fn option(&mut self, text: Option<&String>) -> Result<Option<String>, Fault> {
        text.map(|t| self.word(t)).transpose()
    }

    pub(crate) fn list(&mut self, texts: &[String]) -> Result<Vec<String>, Fault> {
        texts.iter().map(|t| self.word(t)).collect()
    }
}

/// A line of text, then a variable a line: each way of reading it ends, and text without signs stays as it is.
pub fn fuzz_expansion(data: &[u8]) {
    let input = String::from_utf8_lossy(data);
    let mut lines = input.split('\n');
    let text = lines.next().unwrap_or_default();
    let mut env = Env::default();
    for (name, value) in lines.filter_map(|line| line.split_once('=')) {
        env.set(name, value);
    }
    for escape in ['\\', '`'] {
        let mut scope = Scope::new(escape, &env);
        let word = scope.word(text);
        if !text.contains(['$', '\'', '"', escape]) {
            assert_eq!(word, Ok(text.to_owned()));
        }
        if let (Ok(words), Ok(word)) = (scope.words(text), &word) {
            assert!(words.len() <= word.chars().count() + 1, "{words:?} of {word:?}");
        }
        let _ = scope.document(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str, env: &[&str]) -> Result<String, Fault> {
        Scope::new('\\', &Env::from_pairs(env)).word(text)
    }

    /// "Environment replacement" in the Dockerfile reference.
    #[test]
    fn the_table_of_the_reference() {
        let env = ["variable=val", "empty=", "FOO=/bar", "str=foobarbaz", "path=/a/b/c.tar.gz"];
        for (text, want) in [
            ("$variable", "val"),
            ("${variable}_x", "val_x"),
            ("$variable_x", ""),
            ("${variable:-word}", "val"),
            ("${unset:-word}", "word"),
            ("${empty:-word}", "word"),
            ("${empty-word}", ""),
            ("${unset-word}", "word"),
            ("${variable:+word}", "word"),
            ("${unset:+word}", ""),
            ("${empty:+word}", ""),
            ("${empty+word}", "word"),
            ("${variable:?needed}", "val"),
            ("${unset:-${variable}}", "val"),
            ("${unset:-$variable/x}", "val/x"),
            (r"\$FOO", "$FOO"),
            (r"\${FOO}", "${FOO}"),
            ("${FOO}", "/bar"),
            ("abc$FOO.d", "abc/bar.d"),
            ("${str#f*b}", "arbaz"),
            ("${str##f*b}", "az"),
            ("${str%b*}", "foobar"),
            ("${str%%b*}", "foo"),
            ("${str/ba/fo}", "fooforbaz"),
            ("${str//ba/fo}", "fooforfoz"),
            ("${path%.*}", "/a/b/c.tar"),
            ("${path%%.*}", "/a/b/c"),
            ("${path##*/}", "c.tar.gz"),
            ("'$FOO'", "$FOO"),
            ("\"$FOO's\"", "/bar's"),
            (r#""a\"b\c""#, r#"a"b\c"#),
            ("a'b c'\"d e\"", "ab cd e"),
            ("$", "$"),
            ("100$", "100$"),
            ("$1", ""),
            ("price: $$", "price: "),
            ("a\\", "a"),
        ] {
            assert_eq!(expand(text, &env), Ok(want.to_owned()), "{text}");
        }
    }

    /// The cases of BuildKit's `lex_test.go` that concern patterns.
    #[test]
    fn patterns() {
        for (text, env, want) in [
            (r"${FOO#()[]{\}^$.\*\?|\\}", &["FOO=()[]{}^$.*?|\\x"][..], "x"),
            (r"${FOO%%\**}", &["FOO=xx**"], "xx"),
            ("${FOO#*x*y}", &["FOO=xxyy"], "y"),
            ("${FOO#*}", &["FOO=xxyy"], "xxyy"),
            ("${FOO#$BAR}", &["FOO=xxyy", "BAR=x"], "xyy"),
            ("${FOO#}", &["FOO=xxyy"], "xxyy"),
            ("${FOO##*x}", &["FOO=xxyy"], "yy"),
            (r"${FOO#?\?}", &["FOO=???y"], "?y"),
            ("${ABC:-.}${FOO%x}${ABC:-.}", &["FOO=xxyy"], ".xxyy."),
            (r"${FOO%%\**\*}", &["FOO=a***yy*"], "a"),
            (
                "${FOO/$NEEDLE/.} - ${FOO//$NEEDLE/.}",
                &["FOO=/foo*/*/*.txt", r"NEEDLE=\*/"],
                "/foo.*/*.txt - /foo..*.txt",
            ),
            ("${FOO/$NEEDLE/} - ${FOO//$NEEDLE/}", &["FOO=/tmp/tmp/bar.txt", "NEEDLE=/tmp"], "/tmp/bar.txt - /bar.txt"),
            (r"${FOO//\//\/}", &["FOO=/tmp/foo.txt"], r"\/tmp\/foo.txt"),
            ("${FOO/$BAR/ww}", &["FOO=xxyy", "BAR="], "wwxxyy"),
            ("${FOO///}", &["FOO=xxyy"], "xxyy"),
        ] {
            assert_eq!(expand(text, env), Ok(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn errors() {
        for (text, say) in [
            ("${unset:?give it}", "unset: give it"),
            ("${empty:?}", "not allowed to be empty"),
            ("${unset?}", "not allowed to be unset"),
            ("${FOO", "missing '}'"),
            ("${FOO:-x", "missing '}'"),
            ("${FOO/x", "missing '/'"),
            ("${FOO=x}", "unsupported modifier"),
            ("${FOO:=x}", "unsupported modifier"),
            ("${}", "bad substitution"),
            ("${{x}}", "bad substitution"),
            ("'abc", "single quote"),
            ("\"abc", "double quote"),
            (r"${FOO#\x}", "invalid escape"),
        ] {
            let fault = expand(text, &["FOO=x", "empty="]).unwrap_err().to_string();
            assert!(fault.contains(say), "{text}: {fault}");
        }
    }

    /// 100,000 of them would be the end of the stack.
    #[test]
    fn substitutions_inside_of_one_another_have_a_limit() {
        let nested = |depth: usize| format!("{}x{}", "${a:-".repeat(depth), "}".repeat(depth));
        assert_eq!(expand(&nested(100), &[]), Ok("x".to_owned()));
        let fault = expand(&nested(100_000), &[]).unwrap_err();
        assert!(
            fault.message.contains("more than 100 substitutions"),
            "{}",
            &fault.message[fault.message.len() - 99..]
        );
        // Side by side they are as many as you like.
        assert_eq!(expand(&"${a:-x}".repeat(10_000), &[]).unwrap().len(), 10_000);
    }

    #[test]
    fn names_are_letters_and_digits_as_go_knows_them() {
        let env = ["é=1", "٣=2", "a²=3", "Ⅷ=4"];
        assert_eq!(expand("$é $٣ $a² $Ⅷ", &env), Ok("1 2 ² $Ⅷ".to_owned()));
    }

    #[test]
    fn words_are_split_after_expansion_and_quotes_hold_them_together() {
        let env = Env::from_pairs(["PORTS=80 81", "Q=a b"]);
        let mut scope = Scope::new('\\', &env);
        assert_eq!(scope.words("x$PORTS \"$Q\" 'c d'e f\\ g").unwrap(), ["x80", "81", "a b", "c de", "f g"]);
        assert_eq!(scope.document("it's \"$Q\" \\$Q $none").unwrap(), "it's \"a b\" $Q ");
        assert_eq!(scope.found.len(), 1);
        assert_eq!(scope.found[0].unset, BTreeSet::from(["none".to_owned()]));
        assert_eq!(scope.found[0].matched, BTreeSet::from(["Q".to_owned()]));
        assert_eq!(Scope::new('`', &env).word("a\\b`$Q"), Ok("a\\b$Q".to_owned()));
    }
}
