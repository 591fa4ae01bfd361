//! The edits that are measured; `examples/campus/README.md` says what they stand for.

use std::path::Path;

use crate::command::Result;

/// A change of one line of one file.
pub struct Edit {
    file: &'static str,
    line: &'static str,
    /// What the line becomes. The number is another one each time, in other runs of this program too.
    becomes: fn(round: usize, unique: u64) -> String,
    /// How many rounds differ.
    rounds: usize,
}

const MANY: usize = usize::MAX;

pub const THEME: Edit = Edit {
    file: "openedx/themes/campus/lms/static/sass/partials/lms/theme/_palette.scss",
    line: "$campus-brick: #9c3d2a;",
    becomes: |_, unique| format!("$campus-brick: #{:06x};", unique & 0xff_ffff),
    rounds: MANY,
};

pub const PLUGIN: Edit = Edit {
    file: "openedx/plugins/campus-badges/campus_badges/settings/common.py",
    line: "    settings.CAMPUS_BADGES_LEVELS = {\"bronze\": 1, \"silver\": 5, \"gold\": 10}",
    becomes: |_, unique| {
        format!("    settings.CAMPUS_BADGES_LEVELS = {{\"bronze\": 1, \"silver\": 5, \"gold\": {unique}}}")
    },
    rounds: MANY,
};

/// Other versions of a package that nothing else needs.
const MARKDOWN: [&str; 8] = ["3.11.2", "3.11.1", "3.11", "3.10.3", "3.10.2", "3.10.1", "3.10", "3.9"];

pub const REQUIREMENT: Edit = Edit {
    file: "edx-platform/requirements/edx/base.txt",
    line: "markdown==3.11.3",
    // Peers keep what earlier runs of this program built, so the version alone would be known to them.
    becomes: |round, unique| format!("markdown=={}  # {unique}", MARKDOWN[round]),
    rounds: MARKDOWN.len(),
};

pub const PLATFORM: Edit = Edit {
    file: "edx-platform/openedx/core/djangoapps/heartbeat/views.py",
    line: "    return {\"status\": found, \"message\": \"OK\" if found else \"the cache lost a value\"}",
    becomes: |_, unique| {
        format!("    return {{\"status\": found, \"message\": \"OK\" if found else \"the cache lost {unique}\"}}")
    },
    rounds: MANY,
};

pub const SETTINGS: Edit = Edit {
    file: "openedx/settings/lms/production.py",
    line: "DEFAULT_SITE_THEME = \"campus\"",
    becomes: |_, unique| format!("DEFAULT_SITE_THEME = \"campus\"\nCAMPUS_TERM = \"{unique}\""),
    rounds: MANY,
};

impl Edit {
    /// How many of so many rounds there can be.
    pub fn limit(&self, rounds: u32) -> u32 {
        rounds.min(u32::try_from(self.rounds).unwrap_or(u32::MAX))
    }

    /// Makes the edit in a site; gives what puts it back.
    pub fn apply(&self, site: &Path, round: usize, unique: u64) -> Result<Undo> {
        let path = site.join(self.file);
        let before = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut lines: Vec<String> = before.lines().map(str::to_owned).collect();
        let line = lines
            .iter_mut()
            .find(|line| *line == self.line)
            .ok_or_else(|| format!("{} has no line `{}`", path.display(), self.line))?;
        *line = (self.becomes)(round, unique);
        let undo = Undo { path, before };
        std::fs::write(&undo.path, lines.join("\n") + "\n")?;
        Ok(undo)
    }
}

/// The file as it was.
#[must_use]
pub struct Undo {
    path: std::path::PathBuf,
    before: String,
}

impl Undo {
    pub fn undo(self) -> Result<()> {
        Ok(std::fs::write(self.path, self.before)?)
    }
}
