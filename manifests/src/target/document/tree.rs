//! A YAML or JSON text as a tree in which every node knows where it stands.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, StructureStyle};

use crate::config::Step;

/// How deep a document may go. Nobody's does; a parser that recurses must end somewhere.
const DEPTH: usize = 200;

/// A value and its place in the text.
#[derive(Debug)]
pub(super) struct Node {
    /// The bytes of a scalar; of a collection from its first byte to the end of its last value, or its closing bracket.
    pub(super) span: Range<usize>,
    pub(super) kind: Kind,
    /// Whether it has a name by which others refer to it, or a tag: then it is not only a value.
    pub(super) is_special: bool,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Kind {
    Scalar { value: String, style: ScalarStyle },
    Sequence { is_flow: bool, items: Vec<Node> },
    Mapping { is_flow: bool, entries: Vec<(Node, Node)> },
    Alias,
}

impl Node {
    /// What that step leads to.
    pub(super) fn child(&self, step: &Step) -> Option<&Self> {
        match (&self.kind, step) {
            (Kind::Mapping { entries, .. }, Step::Key(key)) => {
                entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
            }
            (Kind::Sequence { items, .. }, Step::Index(index)) => items.get(*index),
            _ => None,
        }
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { value, .. } => Some(value),
            _ => None,
        }
    }

    /// Whether nothing is written there, as after `key:`.
    pub(super) fn is_unwritten(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { value, style: ScalarStyle::Plain } if value.is_empty() || value == "~")
            && self.span.is_empty()
    }

    /// Where the last thing of it ends.
    pub(super) fn end(&self) -> usize {
        match &self.kind {
            Kind::Mapping { is_flow: false, entries } => entries
                .last()
                .map_or(self.span.end, |(key, value)| if value.is_unwritten() { key.span.end } else { value.end() }),
            Kind::Sequence { is_flow: false, items } => items
                .last()
                .map_or(self.span.end, |item| if item.is_unwritten() { item.span.start } else { item.end() }),
            _ => self.span.end,
        }
    }
}

/// The documents of a YAML text; none stands for one that is empty.
pub(super) fn documents(text: &str) -> Result<Vec<Option<Node>>, String> {
    let mut reader = Reader { parser: Parser::new_from_str(text) };
    let mut documents = Vec::new();
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(documents),
            (Event::DocumentStart(..), _) => {
                let (event, span) = reader.next()?;
                let root = match event {
                    Event::DocumentEnd => None,
                    event => {
                        let root = reader.node(event, span, 0)?;
                        reader.next()?;
                        Some(root).filter(|root| !root.is_unwritten())
                    }
                };
                documents.push(root);
            }
            _ => {}
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Range<usize>), String> {
        loop {
            let next = self.parser.next_event().ok_or("it ends in the middle")?;
            let (event, span) = next.map_err(|e| e.to_string())?;
            if matches!(event, Event::Comment(..)) {
                continue;
            }
            let range = span.byte_range().ok_or("its places cannot be told")?;
            return Ok((event, range));
        }
    }

    fn node(&mut self, event: Event<'a>, span: Range<usize>, depth: usize) -> Result<Node, String> {
        if depth > DEPTH {
            return Err(format!("it is nested deeper than {DEPTH} levels"));
        }
        match event {
            Event::Scalar(value, style, anchor, tag) => Ok(Node {
                span,
                is_special: anchor != 0 || tag.is_some(),
                kind: Kind::Scalar { value: value.into_owned(), style },
            }),
            Event::SequenceStart(style, anchor, tag) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, end) => {
                            let kind = Kind::Sequence { is_flow: style == StructureStyle::Flow, items };
                            return Ok(collection(span, end, kind, anchor != 0 || tag.is_some()));
                        }
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(style, anchor, tag) => {
                let mut entries = Vec::new();
                loop {
                    match self.next()? {
                        (Event::MappingEnd, end) => {
                            let kind = Kind::Mapping { is_flow: style == StructureStyle::Flow, entries };
                            return Ok(collection(span, end, kind, anchor != 0 || tag.is_some()));
                        }
                        (event, span) => {
                            let key = self.node(event, span, depth + 1)?;
                            let (event, span) = self.next()?;
                            entries.push((key, self.node(event, span, depth + 1)?));
                        }
                    }
                }
            }
            Event::Alias(_) => Ok(Node { span, is_special: true, kind: Kind::Alias }),
            other => Err(format!("{other:?} is not expected there")),
        }
    }
}

fn collection(start: Range<usize>, end: Range<usize>, kind: Kind, is_special: bool) -> Node {
    Node { span: start.start..end.end.max(start.start), kind, is_special }
}
