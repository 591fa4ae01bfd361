//! The `created_by` texts that BuildKit writes into an image's history.

use super::units::{go_quote, show_duration};
use crate::plan::{Env, Health};

/// `RUN |1 A=b /bin/sh -c ...`.
pub(crate) fn run(argv: &[String], args: &[(String, Option<String>)], env: &Env) -> String {
    let mut shown = Env::default();
    for (name, value) in args {
        let value = env.get(name).or(value.as_deref()).unwrap_or_default();
        shown.set(name.clone(), value);
    }
    let mut words = vec!["RUN".to_owned()];
    if !shown.is_empty() {
        words.push(format!("|{}", shown.iter().count()));
        words.extend(shown.to_pairs());
    }
    words.extend(argv.iter().cloned());
    format!("{} # buildkit", words.join(" "))
}

/// `COPY --chown=1 a b # buildkit`.
pub(crate) fn transfer(
    keyword: &str,
    (parents, chown, chmod): (bool, Option<&str>, Option<&str>),
    sources: &[String],
    inline: impl IntoIterator<Item = String>,
    dest: &str,
) -> String {
    let mut text = keyword.to_owned();
    if parents {
        text.push_str(" --parents");
    }
    for (flag, value) in [("chown", chown), ("chmod", chmod)] {
        if let Some(value) = value {
            text.push_str(&format!(" --{flag}={value}"));
        }
    }
    for source in sources {
        text.push_str(&format!(" {source}"));
    }
    for name in inline {
        text.push_str(&format!(" <<{name}"));
    }
    format!("{text} {dest} # buildkit")
}

/// `CMD ["a" "b"]`: Go's `%q` of a list.
pub(crate) fn quoted(keyword: &str, words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|w| go_quote(w)).collect();
    format!("{keyword} [{}]", words.join(" "))
}

/// `VOLUME [/a /b]`: Go's `%v` of a list.
pub(crate) fn listed(keyword: &str, words: &[String]) -> String {
    format!("{keyword} [{}]", words.join(" "))
}

/// Go's `%+v` of the struct.
pub(crate) fn healthcheck(h: &Health) -> String {
    format!(
        "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        h.test.join(" "),
        show_duration(h.interval),
        show_duration(h.timeout),
        show_duration(h.start_period),
        show_duration(h.start_interval),
        h.retries
    )
}
