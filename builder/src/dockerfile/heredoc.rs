//! Here-documents: `<<EOF`, `<<-EOF`, `<<"EOF"`.

use super::error::Fault;
use super::lex::Lexer;
use crate::plan::Env;

/// A here-document and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heredoc {
    /// The word that ends it, without quotes.
    pub(crate) name: String,
    /// Whether variables in it are expanded (for `COPY` and `ADD`): the word has no quotes.
    pub(crate) expand: bool,
    /// `<<-`: tabs at the start of lines do not count.
    pub(crate) chomp: bool,
    /// The lines up to the end, line breaks included, tabs kept.
    pub(crate) data: String,
}

impl Heredoc {
    /// The text without the tabs that `<<-` takes away.
    pub(crate) fn text(&self) -> String {
        if !self.chomp {
            return self.data.clone();
        }
        self.data.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// Reads one word; `None` when it is something else.
pub(crate) fn parse_word(word: &str) -> Result<Option<Heredoc>, Fault> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(rest) = rest.strip_prefix("<<") else { return Ok(None) };
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let mut lexer = Lexer::new('\\');
    lexer.keep_unset = true;
    let plain = lexer.expand(rest, &Env::default())?.words;
    lexer.raw_quotes = true;
    let quoted = lexer.expand(rest, &Env::default())?.words;
    let ([name], [quoted]) = (plain.as_slice(), quoted.as_slice()) else { return Ok(None) };
    Ok(Some(Heredoc {
        name: name.clone(),
        // A quote that is gone in the plain reading was there to forbid expansion.
        expand: quotes(name) == quotes(quoted),
        chomp,
        data: String::new(),
    }))
}

/// The here-documents that a line announces, without their text.
pub(crate) fn in_line(line: &str) -> Result<Vec<Heredoc>, Fault> {
    let mut lexer = Lexer::new('\\');
    lexer.raw_quotes = true;
    lexer.raw_escapes = true;
    lexer.keep_unset = true;
    lexer.heredocs = true;
    // Text that is not a list of shell words (an odd quote, say) announces none; BuildKit ignores the error too.
    let words = lexer.expand(line, &Env::default()).unwrap_or_default().words;
    words.iter().filter_map(|word| parse_word(word).transpose()).collect()
}

fn quotes(word: &str) -> usize {
    word.chars().filter(|c| matches!(c, '\'' | '"')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_heredocs_and_words_that_are_not() {
        for (word, expand, chomp) in [
            ("<<EOF", true, false),
            ("<<'EOF'", false, false),
            ("<<\"EOF\"", false, false),
            ("<<-EOF", true, true),
            ("<<-'EOF'", false, true),
            ("<<EO\"F\"", false, false),
            ("3<<EOF", true, false),
        ] {
            let doc = parse_word(word).unwrap().unwrap();
            assert_eq!((doc.name.as_str(), doc.expand, doc.chomp), ("EOF", expand, chomp), "{word}");
        }
        for word in ["", "EOF", "<<", "<<-", "<EOF", "<<<EOF", "<<EOF sh", "x<<EOF"] {
            assert_eq!(parse_word(word).unwrap(), None, "{word}");
        }
        for word in ["<<'EOF", "<<EOF\""] {
            assert!(parse_word(word).is_err(), "{word}");
        }
    }

    #[test]
    fn lines_with_several_and_with_none() {
        let names = |line| -> Vec<String> { in_line(line).unwrap().into_iter().map(|d| d.name).collect() };
        assert_eq!(names("RUN <<A cat <<'B' > x"), ["A", "B"]);
        assert_eq!(names("RUN cat << EOF > x"), ["EOF"]);
        assert_eq!(names("RUN echo '<<EOF' \"<<EOF\" \\<<EOF $((1<<2)) <<<here"), [""; 0]);
    }
}
