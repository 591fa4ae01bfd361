//! Why a step runs, for people.

use std::path::Path;

use shiplap_builder::build::{Change, Input, Reason, What, Why};
use similar::{ChangeTag, TextDiff};

/// How many changed paths are shown before "and more".
const SHOWN: usize = 8;

/// Files up to this size are shown by their lines.
const SMALL: u64 = 256 << 10;

/// How many lines of a file are shown.
const LINES: usize = 12;

/// The reason on one line: the inputs that changed, and the first path.
pub fn short(why: &Why) -> String {
    let mut text = match why.inputs().as_slice() {
        [] => return why.words.clone(),
        inputs => inputs.iter().map(|input| input.words()).collect::<Vec<_>>().join(", "),
    };
    if let Some(first) = why.changes.first() {
        text.push_str(&format!(": {} {}", first.path, word(first)));
        if why.differ > 1 {
            text.push_str(&format!(" (and {} more)", why.differ - 1));
        }
    }
    text
}

/// The whole reason, a line each.
pub fn long(why: &Why, lines: bool) -> Vec<String> {
    let mut text = vec![why.words.clone()];
    if let (Some(last), Reason::Files | Reason::Instruction | Reason::Untraced) = (why.last_run, why.reason) {
        text[0].push_str(&format!(", compared with the run of {}", date(last)));
    }
    for input in why.inputs() {
        text.push(format!("  {}:", input.words()));
        let of_input: Vec<&Change> = why.changes.iter().filter(|change| change.input == input).collect();
        for change in of_input.iter().take(SHOWN) {
            text.push(format!("    {} {}", change.path, word(change)));
            if lines {
                text.extend(changed_lines(change).into_iter().map(|line| format!("      {line}")));
            }
        }
        if of_input.len() > SHOWN {
            text.push(format!("    and {} more", of_input.len() - SHOWN));
        }
    }
    if why.differ > why.changes.len() {
        text.push(format!("  and {} more", why.differ - why.changes.len()));
    }
    text
}

/// What happened to a path, in a word or with the names that came and went.
fn word(change: &Change) -> String {
    match change.what {
        What::Added => "is new".to_owned(),
        What::Removed => "is gone".to_owned(),
        What::Changed => "changed".to_owned(),
        What::Attributes => "has another mode or owner".to_owned(),
        What::Names => format!("lists {}", change.names.iter().take(4).cloned().collect::<Vec<_>>().join(" ")),
    }
}

/// The lines of a small text file that are different.
fn changed_lines(change: &Change) -> Vec<String> {
    let (Some(before), Some(after)) = (change.before.as_deref(), change.after.as_deref()) else { return Vec::new() };
    let (Some(before), Some(after)) = (text(before), text(after)) else { return Vec::new() };
    let diff = TextDiff::from_lines(before.as_str(), after.as_str());
    let mut lines: Vec<String> = diff
        .iter_all_changes()
        .filter_map(|line| match line.tag() {
            ChangeTag::Delete => Some(format!("-{}", line.value().trim_end())),
            ChangeTag::Insert => Some(format!("+{}", line.value().trim_end())),
            ChangeTag::Equal => None,
        })
        .collect();
    if lines.len() > LINES {
        let more = lines.len() - LINES;
        lines.truncate(LINES);
        lines.push(format!("and {more} lines more"));
    }
    lines
}

fn text(path: &Path) -> Option<String> {
    let small = std::fs::metadata(path).is_ok_and(|meta| meta.len() <= SMALL);
    small.then(|| std::fs::read_to_string(path).ok()).flatten()
}

/// A moment for people.
pub fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "?".to_owned(), |t| t.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// How long ago that was, roughly.
pub fn age(seconds: i64) -> String {
    let now = jiff::Timestamp::now().as_second();
    match now.saturating_sub(seconds) {
        ..120 => "just now".to_owned(),
        s @ ..7_200 => format!("{} minutes old", s / 60),
        s @ ..172_800 => format!("{} hours old", s / 3_600),
        s => format!("{} days old", s / 86_400),
    }
}

/// All inputs of a list of reasons, each with how many steps it makes run.
pub fn totals<'a>(reasons: impl IntoIterator<Item = &'a Why>) -> Vec<(Input, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    for why in reasons {
        for input in why.inputs() {
            *counts.entry(input).or_default() += 1;
        }
    }
    counts.into_iter().collect()
}
