//! The place in a Dockerfile of an image that cannot be got.

use super::Failure;

/// Shows the line that names the image, and the stage that was meant if one has almost that name.
pub(super) fn of_image(failure: Failure, image: &str, dockerfile: &str, text: &str) -> Failure {
    let words = |line: &str| -> Vec<String> {
        let line = line.trim();
        let first = line.split_whitespace().next().unwrap_or_default();
        if first.eq_ignore_ascii_case("FROM") {
            return line
                .split_whitespace()
                .skip(1)
                .find(|word| !word.starts_with("--"))
                .map(str::to_owned)
                .into_iter()
                .collect();
        }
        let from = line.split([' ', '\t', ',']).filter_map(|word| word.trim_start_matches("--").strip_prefix("from="));
        from.map(str::to_owned).collect()
    };
    let found = text.lines().enumerate().find_map(|(number, line)| {
        let word = words(line).into_iter().find(|word| same(word, image))?;
        Some((number + 1, word))
    });
    let Some((line, word)) = found else { return failure };
    let failure = failure.at(dockerfile, text, (line, line), "needed here");
    match stages(text).into_iter().find(|stage| near(stage, &word)) {
        Some(stage) => failure.hint(format!("no stage is called `{word}`; did you mean `{stage}`?")),
        None => failure,
    }
}

fn same(word: &str, image: &str) -> bool {
    let parse = |text: &str| text.parse::<shiplap_registry::Reference>().ok();
    word == image || parse(word).is_some_and(|word| Some(word) == parse(image))
}

fn stages(text: &str) -> Vec<&str> {
    let from = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    from.filter(|words| words.first().is_some_and(|word| word.eq_ignore_ascii_case("FROM")))
        .filter_map(|words| {
            let at = words.iter().position(|word| word.eq_ignore_ascii_case("AS"))?;
            words.get(at + 1).copied()
        })
        .collect()
}

/// One letter is missing, too many, another, or changed places with the next.
fn near(stage: &str, word: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) =
        (stage.to_lowercase().chars().collect(), word.to_lowercase().chars().collect());
    if a == b || a.len().abs_diff(b.len()) > 1 || a.len() < 3 {
        return false;
    }
    let same = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[same..], &b[same..]);
    match a.len().cmp(&b.len()) {
        std::cmp::Ordering::Less => a == &b[1..],
        std::cmp::Ordering::Greater => &a[1..] == b,
        std::cmp::Ordering::Equal => {
            a[1..] == b[1..] || (a.len() > 1 && a[0] == b[1] && a[1] == b[0] && a[2..] == b[2..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn a_slip_of_the_finger_is_near_and_another_word_is_not() {
        for word in ["pyhton", "pythn", "pythonn", "pithon", "xpython"] {
            assert!(near("python", word), "{word}");
        }
        for word in ["python", "nodejs", "debian", "pytxyn"] {
            assert!(!near("python", word), "{word}");
        }
    }
}
