//! From text to instructions that are still text: directives, comments, continuation lines, here-documents.
//!
//! We read lines ourselves and do not use the crate `parse-dockerfile` (0.1.9): it sees a here-document only right behind
//! `RUN`, so `RUN cat <<EOF > file` or two of them go wrong; it drops the name of one in `COPY`, which is the file's name; it
//! leaves continuation lines and the comments inside them in `RUN`. The rules are those of BuildKit's `parser/parser.go`. The
//! crate checks us in `tests/it/oracle.rs`.

use super::error::Fault;
use super::heredoc::{self, Heredoc};
use super::{directives, flags};
use crate::plan::Location;

/// An instruction before its arguments are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raw {
    /// `RUN`, as written.
    pub(crate) keyword: String,
    /// `--name=value` words, quotes taken off.
    pub(crate) flags: Vec<String>,
    /// What follows.
    pub(crate) rest: String,
    /// Everything, continuation lines joined.
    pub(crate) text: String,
    /// Where it stands.
    pub(crate) at: Location,
    /// The here-documents that follow it.
    pub(crate) heredocs: Vec<Heredoc>,
    /// The last line of it, where a continuation line was empty, which Docker will forbid.
    pub(crate) empty_continuation: Option<usize>,
    /// The comments right above it.
    pub(crate) comments: Vec<String>,
}

/// A fault and its line.
pub(crate) type At<T> = Result<T, (usize, Fault)>;

/// The instructions of a file and its escape character.
pub(crate) fn read(text: &str) -> At<(Vec<Raw>, char)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let directives = directives::read(text)?;
    let escape = directives.escape;
    let mut lines = text.split_inclusive('\n').enumerate();
    let mut out = Vec::new();
    let mut comments = Vec::new();
    while let Some((index, line)) = lines.next() {
        let start = index + 1;
        let written = line;
        let line = line.trim_end_matches(['\r', '\n']).trim_start();
        if line.starts_with('#') {
            if start > directives.end {
                comment(&mut comments, written);
            }
            continue;
        }
        let (head, mut open) = continued(line, escape);
        if head.is_empty() && !open {
            continue;
        }
        let mut joined = head.to_owned();
        let (mut end, mut empty_continuation) = (start, false);
        while open {
            let Some((index, line)) = lines.next() else { break };
            end = index + 1;
            let line = line.trim_end_matches(['\r', '\n']);
            let bare = line.trim_start();
            if bare.starts_with('#') {
                continue;
            }
            if bare.is_empty() {
                empty_continuation = true;
                continue;
            }
            let (part, more) = continued(line, escape);
            joined.push_str(part);
            open = more;
        }
        if joined.trim().is_empty() {
            continue;
        }
        let mut raw = split(&joined);
        raw.empty_continuation = empty_continuation.then_some(end);
        raw.comments = std::mem::take(&mut comments);
        if may_hold_heredoc(&raw) {
            for mut doc in heredoc::in_line(&joined).map_err(|fault| (start, fault))? {
                loop {
                    let Some((index, line)) = lines.next() else {
                        let fault = Fault::new(format!("the here-document <<{} is not closed", doc.name))
                            .hint(format!("end it with a line that holds only {}", doc.name));
                        return Err((start, fault));
                    };
                    end = index + 1;
                    let bare = line.trim_end_matches(['\r', '\n']);
                    if (if doc.chomp { bare.trim_start_matches('\t') } else { bare }) == doc.name {
                        break;
                    }
                    doc.data.push_str(line);
                }
                raw.heredocs.push(doc);
            }
        }
        raw.at = Location { line_start: start, line_end: end };
        out.push(raw);
    }
    Ok((out, escape))
}

/// Keeps a comment as BuildKit does: without the first letter of its line, whatever that is; an empty one parts those before it from
/// what follows.
fn comment(comments: &mut Vec<String>, line: &str) {
    let text: String = line.chars().skip(1).collect();
    match text.trim() {
        "" => comments.clear(),
        text => comments.push(text.to_owned()),
    }
}

/// The line without its continuation mark, and whether it had one. Two marks in a row are text.
fn continued(line: &str, escape: char) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(head) if !head.ends_with(escape) => (head, true),
        _ => (line, false),
    }
}

/// Splits keyword, flags and the rest.
pub(crate) fn split(text: &str) -> Raw {
    let text = text.trim();
    let space = |c: char| matches!(c, ' ' | '\t' | '\u{b}' | '\u{c}' | '\r');
    let (keyword, arguments) = text.split_once(space).unwrap_or((text, ""));
    let (flags, rest) = flags::extract(arguments.trim_start_matches(space));
    Raw {
        keyword: keyword.to_owned(),
        flags,
        rest: rest.trim().to_owned(),
        text: text.to_owned(),
        at: Location { line_start: 0, line_end: 0 },
        heredocs: Vec::new(),
        empty_continuation: None,
        comments: Vec::new(),
    }
}

fn may_hold_heredoc(raw: &Raw) -> bool {
    match raw.keyword.to_ascii_lowercase().as_str() {
        "run" | "copy" | "add" => raw.rest.contains("<<") && super::words::json_list(&raw.rest).is_none(),
        "onbuild" => may_hold_heredoc(&split(&raw.rest)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_lines_inside_a_continuation_are_dropped() {
        let text =
            "# syntax=docker/dockerfile:1\n\nFROM a\nRUN apt install \\\n  # needed by b\n\n  b \\  \n\tc\nUSER x\n";
        let (raws, escape) = read(text).unwrap();
        assert_eq!(escape, '\\');
        assert_eq!(raws[1].rest, "apt install   b \tc");
        assert_eq!(raws[1].empty_continuation, Some(8));
        assert_eq!(raws[1].at, Location { line_start: 4, line_end: 8 });
        assert_eq!(raws[2].keyword, "USER");
        // Seen with Docker 28.
        assert_eq!(read("ENV a b\\\\\nUSER x\n").unwrap().0.len(), 2);
    }

    #[test]
    fn the_escape_directive_changes_the_continuation_mark() {
        let (raws, escape) = read("# escape=`\nFROM a\nRUN dir c:\\ `\n  d\n").unwrap();
        assert_eq!((escape, raws[1].rest.as_str()), ('`', "dir c:\\   d"));
        // A comment before it ends the directives.
        let (raws, escape) = read("# hello\n# escape=`\nFROM a\n").unwrap();
        assert_eq!((escape, raws.len()), ('\\', 1));
        assert_eq!(read("# escape=x\nFROM a").unwrap_err().0, 1);
    }

    #[test]
    fn heredocs_keep_their_lines_and_do_not_become_instructions() {
        let (raws, _) = read("RUN cat <<A >x && cat <<-B\nRUN no\nA\n\tFROM no\n\tB\nUSER y\n").unwrap();
        assert_eq!(raws.len(), 2);
        assert_eq!(raws[0].heredocs[0].data, "RUN no\n");
        assert_eq!(raws[0].heredocs[1].text(), "FROM no\n");
        assert_eq!(raws[0].at.line_end, 5);
        assert_eq!(read("RUN <<A\nx\n").unwrap_err().0, 1);
        // The exec form has none.
        assert_eq!(read("RUN [\"sh\", \"<<A\"]\nUSER x\n").unwrap().0.len(), 2);
    }
}
