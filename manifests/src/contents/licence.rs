//! Licences as packages name them.

/// Words that say nothing.
const NOTHING: [&str; 6] = ["", "unknown", "none", "see license", "seelicense", "dual license"];

/// A licence in one line, none where the text says nothing or is the licence itself.
pub(super) fn name(text: &str) -> Option<String> {
    let text = text.trim();
    let is_name = !text.contains('\n') && text.len() <= 120 && !NOTHING.contains(&text.to_lowercase().as_str());
    is_name.then(|| text.to_owned())
}

/// Several, each once, sorted.
pub(super) fn sorted(mut all: Vec<String>) -> Vec<String> {
    all.sort();
    all.dedup();
    all
}
