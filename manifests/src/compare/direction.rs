//! Which of two versions is the newer one, by the rules of each ecosystem.

use std::cmp::Ordering;

use serde::Serialize;

use crate::contents::Manager;

/// Which way a version went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// To a newer one.
    Up,
    /// To an older one.
    Down,
    /// To another one, or the same version from elsewhere: which is newer is not known.
    Changed,
}

/// Which way it is from one version to another.
pub fn direction(manager: Manager, before: &str, after: &str) -> Direction {
    match order(manager, before, after) {
        Some(Ordering::Less) => Direction::Up,
        Some(Ordering::Greater) => Direction::Down,
        Some(Ordering::Equal) | None => Direction::Changed,
    }
}

/// PEP 440 for Python, semver 2.0.0 for npm (section 11; build metadata has no order), deb-version(7) for Debian. Alpine's are not ordered here.
fn order(manager: Manager, before: &str, after: &str) -> Option<Ordering> {
    match manager {
        Manager::Python => {
            let parse = |text: &str| text.parse::<pep440_rs::Version>().ok();
            Some(parse(before)?.cmp(&parse(after)?))
        }
        Manager::Npm => {
            let parse = |text: &str| semver::Version::parse(text.trim_start_matches(['v', '='])).ok();
            Some(parse(before)?.cmp_precedence(&parse(after)?))
        }
        Manager::Debian => {
            let parse = |text: &str| text.parse::<debversion::Version>().ok();
            Some(parse(before)?.cmp(&parse(after)?))
        }
        Manager::Alpine => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ascends(manager: Manager, versions: &[&str]) {
        for pair in versions.windows(2) {
            assert_eq!(direction(manager, pair[0], pair[1]), Direction::Up, "{pair:?}");
            assert_eq!(direction(manager, pair[1], pair[0]), Direction::Down, "{pair:?}");
        }
    }

    #[test]
    fn versions_of_python_are_ordered_as_pep_440_says() {
        // "Summary of permitted suffixes and relative ordering" in PEP 440, and an epoch.
        let all = [
            "1.0.dev1",
            "1.0a1",
            "1.0a2.dev456",
            "1.0a2",
            "1.0b1",
            "1.0rc1",
            "1.0",
            "1.0+abc.5",
            "1.0.post1",
            "1.1.dev1",
            "1.9",
            "1.10",
            "1!0.5",
        ];
        ascends(Manager::Python, &all);
        assert_eq!(direction(Manager::Python, "1.0", "1.0.0"), Direction::Changed);
        assert_eq!(direction(Manager::Python, "1.0", "2004d-unknown"), Direction::Changed);
    }

    #[test]
    fn versions_of_npm_are_ordered_as_semver_says() {
        // Section 11 of semver 2.0.0.
        let all = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.2.0",
            "1.10.0",
        ];
        ascends(Manager::Npm, &all);
        assert_eq!(direction(Manager::Npm, "1.0.0+a", "1.0.0+b"), Direction::Changed);
        assert_eq!(direction(Manager::Npm, "v1.0.0", "1.0.1"), Direction::Up);
        assert_eq!(direction(Manager::Npm, "latest", "1.0.1"), Direction::Changed);
    }

    #[test]
    fn versions_of_debian_are_ordered_as_dpkg_does() {
        // `~` before the end, letters before others, numbers as numbers, an epoch first: deb-version(7), "Sorting algorithm".
        let all = [
            "1.0~~",
            "1.0~~a",
            "1.0~",
            "1.0~rc1-1",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1+deb12u1",
            "1.0-1+deb12u10",
            "1.0a-1",
            "1.9-1",
            "1.10-1",
            "1:0.5-1",
        ];
        ascends(Manager::Debian, &all);
    }

    #[test]
    fn what_has_no_known_order_is_changed() {
        assert_eq!(direction(Manager::Alpine, "1.2.5-r0", "1.2.6-r0"), Direction::Changed);
        assert_eq!(direction(Manager::Debian, "", "1.0"), Direction::Changed);
    }
}
