//! Setting values in a YAML or JSON file that people edit.
//!
//! The text is changed at the bytes of the value and nowhere else, so comments, order, quotes and blank lines stay. What comes out is read again and compared,
//! value by value, with what went in: the file belongs to someone else, and a wrong edit of it is worse than none.

mod splice;
mod tree;

use std::path::Path;

use serde_json::{Map, Value};

use super::TargetError;
use crate::config::{KeyPath, Step};

/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One YAML document or several.
    Yaml,
    /// One JSON value.
    Json,
}

/// A file that is being edited.
#[derive(Debug)]
pub(super) struct Document<'a> {
    path: &'a Path,
    format: Format,
    text: String,
    /// The documents that hold something.
    values: Vec<Value>,
}

impl<'a> Document<'a> {
    /// Reads a text.
    pub(super) fn parse(path: &'a Path, format: Format, text: &str) -> Result<Self, TargetError> {
        let values = values(format, text).map_err(|why| match format {
            Format::Yaml => TargetError::Yaml { path: path.to_owned(), why },
            Format::Json => TargetError::Json { path: path.to_owned(), why },
        })?;
        Ok(Self { path, format, text: text.to_owned(), values })
    }

    /// The values of its documents. JSON has one; an empty YAML file has none.
    pub(super) fn values(&self) -> &[Value] {
        &self.values
    }

    /// What is in a document at that place.
    pub(super) fn get(&self, document: usize, steps: &[Step]) -> Option<&Value> {
        get(self.values.get(document)?, steps)
    }

    /// Sets a place of a document, making what is missing on the way. A place that says so already is left alone.
    pub(super) fn set(&mut self, document: usize, steps: &[Step], value: &Value) -> Result<(), TargetError> {
        if self.get(document, steps) == Some(value) {
            return Ok(());
        }
        let mut wanted = self.values.clone();
        if wanted.is_empty() && document == 0 {
            wanted.push(Value::Object(Map::new()));
        }
        let put = wanted.get_mut(document).and_then(|root| put(root, steps, value));
        let edited = put.and_then(|()| splice::set(self.format, &self.text, document, steps, value));
        self.accept(edited, wanted, steps, Some(value))
    }

    /// Takes a key out of a mapping of a document, if it is there.
    pub(super) fn remove(&mut self, document: usize, steps: &[Step]) -> Result<(), TargetError> {
        let Some((Step::Key(key), above)) = steps.split_last() else { return Ok(()) };
        if self.get(document, steps).is_none() {
            return Ok(());
        }
        let mut wanted = self.values.clone();
        if let Some(Value::Object(map)) = wanted.get_mut(document).and_then(|root| get_mut(root, above)) {
            map.remove(key);
        }
        let edited = splice::remove(self.format, &self.text, document, steps);
        self.accept(edited, wanted, steps, None)
    }

    /// The text as it is now.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn accept(
        &mut self,
        edited: Option<String>,
        wanted: Vec<Value>,
        steps: &[Step],
        value: Option<&Value>,
    ) -> Result<(), TargetError> {
        match edited {
            Some(text) if values(self.format, &text).is_ok_and(|found| found == wanted) => {
                (self.text, self.values) = (text, wanted);
                Ok(())
            }
            _ => Err(TargetError::CannotEdit {
                path: self.path.to_owned(),
                key: KeyPath::from_steps(steps).to_string(),
                value: value.map_or("(nothing)".to_owned(), |value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                }),
            }),
        }
    }
}

fn values(format: Format, text: &str) -> Result<Vec<Value>, String> {
    match format {
        Format::Yaml => serde_saphyr::from_multiple::<Value>(text).map_err(|e| e.to_string()),
        Format::Json => serde_json::from_str(text).map(|value| vec![value]).map_err(|e| e.to_string()),
    }
}

/// What is at that place of a value.
pub(super) fn get<'v>(root: &'v Value, steps: &[Step]) -> Option<&'v Value> {
    steps.iter().try_fold(root, |value, step| match step {
        Step::Key(key) => value.as_object()?.get(key),
        Step::Index(index) => value.as_array()?.get(*index),
    })
}

fn get_mut<'v>(root: &'v mut Value, steps: &[Step]) -> Option<&'v mut Value> {
    steps.iter().try_fold(root, |value, step| match step {
        Step::Key(key) => value.as_object_mut()?.get_mut(key),
        Step::Index(index) => value.as_array_mut()?.get_mut(*index),
    })
}

/// Puts a value at that place; none where something else is in the way, or a list would get a hole.
fn put(root: &mut Value, steps: &[Step], value: &Value) -> Option<()> {
    let mut place = root;
    for (i, step) in steps.iter().enumerate() {
        let empty = match steps.get(i + 1) {
            None => value.clone(),
            Some(Step::Key(_)) => Value::Object(Map::new()),
            Some(Step::Index(_)) => Value::Array(Vec::new()),
        };
        place = match step {
            Step::Key(key) => place.as_object_mut()?.entry(key.clone()).or_insert(empty),
            Step::Index(index) => {
                let items = place.as_array_mut()?;
                if *index == items.len() {
                    items.push(empty);
                }
                items.get_mut(*index)?
            }
        };
    }
    *place = value.clone();
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(format: Format, text: &str, path: &str, value: &str) -> Result<String, TargetError> {
        let path: KeyPath = path.parse().unwrap();
        let mut document = Document::parse(Path::new("values.yaml"), format, text)?;
        document.set(0, path.steps(), &Value::from(value))?;
        Ok(document.into_text())
    }

    #[test]
    fn only_the_value_changes_and_all_around_it_stays() {
        for (before, path, after) in [
            ("a: old # why\n\n# b\nb: 1\n", "a", "a: NEW # why\n\n# b\nb: 1\n"),
            ("a:   'old'   # why\n", "a", "a:   'NEW'   # why\n"),
            ("a: \"old\"\n", "a", "a: \"NEW\"\n"),
            ("a:\n  # inner\n  b: old\n  c: 1\n", "a.b", "a:\n  # inner\n  b: NEW\n  c: 1\n"),
            ("a:\n- b: 1\n  c: old\n- b: 2\n", "a[0].c", "a:\n- b: 1\n  c: NEW\n- b: 2\n"),
            ("a:\n- b: 1\n- b: 2 # two\n# end\nz: 1\n", "a[1].c", "a:\n- b: 1\n- b: 2 # two\n  c: NEW\n# end\nz: 1\n"),
            ("a:\n  - b: 1\nz: 1\n", "a[1].b", "a:\n  - b: 1\n  - b: NEW\nz: 1\n"),
            ("a: [x, y]\n", "a[2]", "a: [x, y, NEW]\n"),
            ("a: {b: 1, c: old}\n", "a.c", "a: {b: 1, c: NEW}\n"),
            ("a: {b: 1}\n", "a.c", "a: {b: 1, c: NEW}\n"),
            ("a: {}\nb: 1\n", "a.c", "a: {c: NEW}\nb: 1\n"),
            ("a: []\n", "a[0]", "a: [NEW]\n"),
            ("a:\nb: 1\n", "a", "a: NEW\nb: 1\n"),
            ("a: # later\nb: 1\n", "a", "a: NEW # later\nb: 1\n"),
            ("a: 1\r\nb:\r\n  c: old\r\n", "b.d", "a: 1\r\nb:\r\n  c: old\r\n  d: NEW\r\n"),
            ("a: 1", "b.c.d", "a: 1\nb:\n  c:\n    d: NEW\n"),
            ("a: |\n  text\n  b: no\nc: 1\n", "c", "a: |\n  text\n  b: no\nc: NEW\n"),
            ("a:\n  t: |\n    text\nc: 1\n", "a.b", "a:\n  t: |\n    text\n  b: NEW\nc: 1\n"),
            ("---\na: 1\n...\n", "b", "---\na: 1\nb: NEW\n...\n"),
            ("", "a.b", "a:\n  b: NEW\n"),
            ("# nothing yet\n", "a", "# nothing yet\na: NEW\n"),
            ("ä: \"ö\" # ü\nb: old\n", "b", "ä: \"ö\" # ü\nb: NEW\n"),
            ("a: long\n  and longer\nb: 1\n", "a", "a: NEW\nb: 1\n"),
        ] {
            let found = set(Format::Yaml, before, path, "x/y:1.0.0-gab").unwrap_or_else(|e| panic!("{before:?}: {e}"));
            assert_eq!(found, after.replace("NEW", "x/y:1.0.0-gab"), "{before:?}");
            assert_eq!(set(Format::Yaml, &found, path, "x/y:1.0.0-gab").unwrap(), found, "again: {before:?}");
        }
    }

    #[test]
    fn a_text_that_would_be_read_as_something_else_is_quoted() {
        for (value, written) in
            [("1.0", "\"1.0\""), ("true", "\"true\""), ("", "\"\""), ("a: b", "\"a: b\""), ("v1", "v1")]
        {
            assert_eq!(set(Format::Yaml, "a: x\n", "a", value).unwrap(), format!("a: {written}\n"));
        }
        assert_eq!(set(Format::Yaml, "a: 'x'\n", "a", "it's").unwrap(), "a: 'it''s'\n");
    }

    #[test]
    fn json_keeps_its_order_and_its_indentation() {
        for (before, path, after) in [
            ("{\n    \"z\": 1,\n    \"a\": \"old\"\n}\n", "a", "{\n    \"z\": 1,\n    \"a\": \"NEW\"\n}\n"),
            ("{\n\t\"z\": 1\n}", "a", "{\n\t\"z\": 1,\n\t\"a\": \"NEW\"\n}"),
            ("{\"z\":{\"y\":[1,2]}}", "z.x", "{\"z\":{\"y\":[1,2],\"x\":\"NEW\"}}"),
            ("{}\n", "a", "{\"a\": \"NEW\"}\n"),
            (
                "{\n  \"m\": {\n    \"x\": 1.50\n  }\n}\n",
                "m.n.o",
                "{\n  \"m\": {\n    \"x\": 1.50,\n    \"n\": {\"o\": \"NEW\"}\n  }\n}\n",
            ),
        ] {
            let found = set(Format::Json, before, path, "v").unwrap_or_else(|e| panic!("{before:?}: {e}"));
            assert_eq!(found, after.replace("NEW", "v"), "{before:?}");
        }
        assert!(matches!(set(Format::Json, "{a: 1}", "a", "v"), Err(TargetError::Json { .. })));
        assert!(matches!(set(Format::Json, "{\"a\": 1, \"a\": 2}", "a", "v"), Err(TargetError::CannotEdit { .. })));
    }

    #[test]
    fn what_cannot_be_set_without_touching_something_else_is_left_to_its_owner() {
        for (odd, path) in [
            ("a: &x old\nb: *x\n", "a"),
            ("a: &x {b: old}\nc: *x\n", "c.b"),
            ("a: text\n", "a.b"),
            ("a: [1]\n", "a[3]"),
            ("a: !secret old\n", "a"),
            ("a: |\n  old\n", "a"),
            ("a: {b: 1}\n", "a"),
        ] {
            assert!(matches!(set(Format::Yaml, odd, path, "v"), Err(TargetError::CannotEdit { .. })), "{odd}");
        }
        for bad in ["a: [1\n", "a: 1\na: 2\n"] {
            assert!(matches!(set(Format::Yaml, bad, "a", "v"), Err(TargetError::Yaml { .. })), "{bad}");
        }
    }

    #[test]
    fn the_right_one_of_several_documents_is_edited() {
        let text = "# one\nkind: A\nv: 1\n---\n# two\nkind: B\nv: 2\n---\n---\nkind: C\nv: 3\n";
        let mut document = Document::parse(Path::new("apps.yaml"), Format::Yaml, text).unwrap();
        assert_eq!(document.values().len(), 3);
        let key = |key: &str| vec![Step::Key(key.to_owned())];
        document.set(1, &key("v"), &Value::from("two")).unwrap();
        document.set(2, &key("w"), &Value::from("three")).unwrap();
        document.set(0, &key("w"), &Value::from("one")).unwrap();
        let expected = "# one\nkind: A\nv: 1\nw: one\n---\n# two\nkind: B\nv: two\n---\n---\nkind: C\nv: 3\nw: three\n";
        assert_eq!(document.into_text(), expected);
    }

    #[test]
    fn a_key_is_taken_out_with_its_line() {
        for (before, path, after) in [
            ("a: 1\nb: 2 # two\nc: 3\n", "b", Some("a: 1\nc: 3\n")),
            ("a:\n- n: x\n  d: y\n- n: z\n", "a[0].d", Some("a:\n- n: x\n- n: z\n")),
            ("a: {b: 1, c: 2}\n", "a.c", Some("a: {b: 1}\n")),
            ("a: {b: 1, c: 2}\n", "a.b", Some("a: {c: 2}\n")),
            ("a:\n- d: y\n  n: x\n", "a[0].d", None),
            ("a:\n  b: 1\nc: 1\n", "a.b", None),
        ] {
            let path: KeyPath = path.parse().unwrap();
            let mut document = Document::parse(Path::new("f"), Format::Yaml, before).unwrap();
            match (document.remove(0, path.steps()), after) {
                (Ok(()), Some(after)) => assert_eq!(document.into_text(), after),
                (Err(TargetError::CannotEdit { .. }), None) => {}
                (other, _) => panic!("{before:?}: {other:?}"),
            }
        }
    }
}
