//! Where in the text a value is put, and how it is spelled.

use std::ops::Range;

use granit_parser::ScalarStyle;
use serde_json::Value;

use super::Format;
use super::tree::{Kind, Node, documents};
use crate::config::Step;

/// The text with a value set; none where that cannot be done at one place alone.
pub(super) fn set(format: Format, text: &str, document: usize, steps: &[Step], value: &Value) -> Option<String> {
    let roots = roots(format, text)?;
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    // JSON without blanks stays so.
    let is_dense = format == Format::Json && text.contains("\":") && !text.contains("\": ");
    let writer = Writer { format, text, newline, blank: if is_dense { "" } else { " " } };
    let mut held = roots.iter().flatten();
    let Some(root) = held.nth(document) else {
        // Nothing but comments, if anything.
        return (document == 0 && roots.iter().all(Option::is_none)).then(|| writer.begin(steps, value)).flatten();
    };
    let mut node = root;
    for (i, step) in steps.iter().enumerate() {
        if node.is_special && matches!(node.kind, Kind::Alias) {
            return None;
        }
        match node.child(step) {
            Some(child) if i + 1 < steps.len() => node = child,
            Some(child) => return writer.replace(node, step, child, value),
            None => return writer.insert(node, step, &nested(&steps[i + 1..], value)?),
        }
    }
    None
}

/// The text without a key; none where its mapping would be left empty, or a dash would lose what follows it.
pub(super) fn remove(format: Format, text: &str, document: usize, steps: &[Step]) -> Option<String> {
    let roots = roots(format, text)?;
    let (last, above) = steps.split_last()?;
    let mut node = roots.iter().flatten().nth(document)?;
    for step in above {
        node = node.child(step)?;
    }
    let Kind::Mapping { is_flow, entries } = &node.kind else { return None };
    let Step::Key(key) = last else { return None };
    let at = entries.iter().position(|(name, _)| name.text() == Some(key))?;
    if entries.len() == 1 {
        return None;
    }
    let (name, value) = &entries[at];
    let range = if *is_flow {
        match at {
            0 => name.span.start..entries[1].0.span.start,
            _ => entries[at - 1].1.end()..value.end(),
        }
    } else {
        let start = line_start(text, name.span.start);
        if !text[start..name.span.start].trim().is_empty() {
            return None;
        }
        let end = if value.is_unwritten() { name.span.end } else { value.end() };
        start..line_end(text, end)
    };
    Some(splice(text, range, ""))
}

fn roots(format: Format, text: &str) -> Option<Vec<Option<Node>>> {
    match format {
        Format::Yaml => documents(text).ok(),
        // JSON is YAML but for tabs, and no string of JSON holds one as it is (RFC 8259, section 7): a blank in its place moves nothing.
        Format::Json => documents(&text.replace('\t', " ")).ok(),
    }
}

/// A value below steps that are not there yet.
fn nested(steps: &[Step], value: &Value) -> Option<Value> {
    let Some((first, rest)) = steps.split_first() else { return Some(value.clone()) };
    let inner = nested(rest, value)?;
    match first {
        Step::Key(key) => Some(Value::Object([(key.clone(), inner)].into_iter().collect())),
        Step::Index(0) => Some(Value::Array(vec![inner])),
        Step::Index(_) => None,
    }
}

struct Writer<'a> {
    format: Format,
    text: &'a str,
    newline: &'static str,
    blank: &'static str,
}

impl Writer<'_> {
    /// The first value of a file.
    fn begin(&self, steps: &[Step], value: &Value) -> Option<String> {
        let lines = self.block(&nested(steps, value)?, 0)?;
        let separator = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { self.newline };
        Some(format!("{}{separator}{lines}", self.text))
    }

    fn replace(&self, parent: &Node, step: &Step, old: &Node, value: &Value) -> Option<String> {
        let Kind::Scalar { style, .. } = &old.kind else { return None };
        if old.is_special {
            return None;
        }
        if old.is_unwritten() {
            // After the colon, wherever the parser says that nothing is.
            let (Kind::Mapping { entries, .. }, Step::Key(key)) = (&parent.kind, step) else { return None };
            let (name, _) = entries.iter().find(|(name, _)| name.text() == Some(key))?;
            let colon = name.span.end + self.text.get(name.span.end..)?.find(':')? + 1;
            return Some(splice(self.text, colon..colon, &format!(" {}", self.scalar(value)?)));
        }
        let new = match (style, value) {
            (ScalarStyle::SingleQuoted, Value::String(text)) if !text.contains('\n') => {
                format!("'{}'", text.replace('\'', "''"))
            }
            (ScalarStyle::DoubleQuoted, Value::String(_)) => value.to_string(),
            (ScalarStyle::Literal | ScalarStyle::Folded, _) => return None,
            _ => self.scalar(value)?,
        };
        let range = old.span.start..old.span.start + self.text.get(old.span.clone())?.trim_end().len();
        // A comment inside of it would be lost.
        let is_plain = *style == ScalarStyle::Plain;
        (!is_plain || !self.text[range.clone()].contains(" #")).then(|| splice(self.text, range, &new))
    }

    /// Adds a key to a mapping, or an item to the end of a list.
    fn insert(&self, node: &Node, step: &Step, value: &Value) -> Option<String> {
        match (&node.kind, step) {
            (Kind::Mapping { is_flow: true, entries }, Step::Key(key)) => {
                let entry = format!("{}:{}{}", self.key(key), self.blank, self.flow(value)?);
                let last = entries.last().map(|(key, value)| (key.span.start, value.end().max(key.span.end)));
                self.inside_brackets(node, last, &entry)
            }
            (Kind::Sequence { is_flow: true, items }, Step::Index(index)) if *index == items.len() => {
                let last = items.last().map(|item| (item.span.start, item.end()));
                self.inside_brackets(node, last, &self.flow(value)?)
            }
            (Kind::Mapping { is_flow: false, entries }, Step::Key(key)) => {
                let indent = column(self.text, entries.first()?.0.span.start);
                let lines = self.entry(key, value, indent)?;
                self.after(node.end(), &format!("{}{lines}", " ".repeat(indent)))
            }
            (Kind::Sequence { is_flow: false, items }, Step::Index(index)) if *index == items.len() => {
                // The parser says where a list begins, but not of one that stands as far left as its key.
                let dash = self.text.get(..items.first()?.span.start)?.trim_end().strip_suffix('-')?.len();
                let indent = column(self.text, dash);
                let lines = self.block(value, indent + 2)?;
                self.after(node.end(), &format!("{}- {}", " ".repeat(indent), lines.trim_start_matches(' ')))
            }
            _ => None,
        }
    }

    /// After the last of what is between brackets, set off as that is.
    fn inside_brackets(&self, node: &Node, last: Option<(usize, usize)>, new: &str) -> Option<String> {
        let Some((start, end)) = last else {
            let inside = node.span.start + 1;
            return Some(splice(self.text, inside..inside, new));
        };
        let before = self.text.get(..start)?;
        let gap = &before[before.trim_end().len()..];
        let is_first = before.trim_end().ends_with(['{', '[']);
        let gap = match gap {
            "" if is_first && self.format == Format::Yaml => " ",
            gap => gap,
        };
        Some(splice(self.text, end..end, &format!(",{gap}{new}")))
    }

    /// As lines of their own, after the line in which something ends.
    fn after(&self, end: usize, lines: &str) -> Option<String> {
        // The end of a block may be that of the blank lines after it.
        let end = self.text.get(..end)?.trim_end().len();
        let at = line_end(self.text, end);
        let separator = if self.text[..at].ends_with('\n') { "" } else { self.newline };
        Some(splice(self.text, at..at, &format!("{separator}{lines}")))
    }

    /// A value as a block, each line with its end, the first one indented too.
    fn block(&self, value: &Value, indent: usize) -> Option<String> {
        let blanks = " ".repeat(indent);
        match value {
            Value::Object(map) if !map.is_empty() => {
                map.iter().map(|(key, value)| Some(format!("{blanks}{}", self.entry(key, value, indent)?))).collect()
            }
            Value::Array(items) if !items.is_empty() => items
                .iter()
                .map(|item| Some(format!("{blanks}- {}", self.block(item, indent + 2)?.trim_start_matches(' '))))
                .collect(),
            other => Some(format!("{blanks}{}{}", self.flow(other)?, self.newline)),
        }
    }

    fn entry(&self, key: &str, value: &Value, indent: usize) -> Option<String> {
        let key = self.key(key);
        let is_block = match value {
            Value::Object(map) => !map.is_empty(),
            Value::Array(items) => !items.is_empty(),
            _ => false,
        };
        if is_block {
            return Some(format!("{key}:{}{}", self.newline, self.block(value, indent + 2)?));
        }
        Some(format!("{key}: {}{}", self.flow(value)?, self.newline))
    }

    /// A value in one line.
    fn flow(&self, value: &Value) -> Option<String> {
        match value {
            Value::Object(map) => {
                let entry = |(key, value): (&String, &Value)| {
                    Some(format!("{}:{}{}", self.key(key), self.blank, self.flow(value)?))
                };
                Some(format!(
                    "{{{}}}",
                    map.iter().map(entry).collect::<Option<Vec<_>>>()?.join(&format!(",{}", self.blank))
                ))
            }
            Value::Array(items) => Some(format!(
                "[{}]",
                items.iter().map(|item| self.flow(item)).collect::<Option<Vec<_>>>()?.join(&format!(",{}", self.blank))
            )),
            scalar => self.scalar(scalar),
        }
    }

    fn key(&self, key: &str) -> String {
        self.string(key)
    }

    fn scalar(&self, value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Some(self.string(text)),
            Value::Object(_) | Value::Array(_) => None,
            other => Some(other.to_string()),
        }
    }

    /// A string, without quotes where every reader takes it for one.
    fn string(&self, text: &str) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._/@:=-".contains(c);
        let is_plain = self.format == Format::Yaml
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && !text.ends_with(':')
            && text.chars().all(plain)
            && serde_saphyr::from_str::<Value>(text).is_ok_and(|value| value == text)
            // What YAML 1.1 reads as a truth value, a number of hours or a float: Helm's and kubectl's parser is of that age.
            && !["y", "n", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str())
            && (text.starts_with(|c: char| c.is_ascii_alphabetic()) || text.contains(|c| !"0123456789.:-eExob".contains(c)));
        // JSON's strings are YAML's double-quoted ones (YAML 1.2, section 1.2).
        if is_plain { text.to_owned() } else { Value::from(text).to_string() }
    }
}

fn splice(text: &str, range: Range<usize>, new: &str) -> String {
    format!("{}{new}{}", &text[..range.start], &text[range.end..])
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |i| i + 1)
}

/// The start of the next line.
fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |i| at + i + 1)
}

/// How many characters stand before it in its line.
fn column(text: &str, at: usize) -> usize {
    text[line_start(text, at)..at].chars().count()
}
