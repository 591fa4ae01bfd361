//! The plugin of Tutor that `shiplap tutor install` writes: one file, which says in its first line who wrote it and what was in it.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use shiplap_cache::Digest;
use shiplap_cache::durable::DurableFile;

use crate::failure::{Failure, Kind, Result};

/// What Tutor calls it, after its file.
pub const NAME: &str = "shiplap";

const BODY: &str = include_str!("plugin.py");

/// How the first line begins.
const MARK: &str = "# Written by `shiplap tutor install`, version ";

/// The file, and what is there.
#[derive(Debug)]
pub struct Plugin {
    pub path: PathBuf,
    pub found: Found,
}

/// What is at the place of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// What this program writes.
    Current,
    /// What another version wrote, and nobody edited.
    Version(String),
    /// What we wrote and somebody edited.
    Edited,
    /// Somebody else's.
    Foreign,
}

impl Found {
    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::Nothing => "not installed".to_owned(),
            Self::Current => "installed".to_owned(),
            Self::Version(version) => format!("installed by version {version}; `shiplap tutor install` replaces it"),
            Self::Edited => "installed and edited by hand".to_owned(),
            Self::Foreign => "not written by shiplap".to_owned(),
        }
    }
}

impl Plugin {
    /// Looks into a folder of plugins.
    pub fn look(folder: &Path) -> Result<Self> {
        let path = folder.join(format!("{NAME}.py"));
        let found = match std::fs::read(&path) {
            Ok(bytes) => read(&String::from_utf8_lossy(&bytes)),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Found::Nothing,
            Err(e) => return Err(Failure::new(Kind::Failed, format!("cannot read {}: {e}", path.display()))),
        };
        Ok(Self { path, found })
    }

    /// Refuses where removing it would lose somebody's work.
    pub fn may_remove(&self, force: bool) -> Result<()> {
        self.ours(force)
    }

    fn ours(&self, force: bool) -> Result<()> {
        let why = match self.found {
            Found::Edited => "was written by shiplap and then edited by hand",
            Found::Foreign => "was not written by shiplap",
            Found::Nothing | Found::Current | Found::Version(_) => return Ok(()),
        };
        if force {
            return Ok(());
        }
        Err(Failure::new(Kind::Refused, format!("{} {why}", self.path.display()))
            .hint("move it away, or say --force: what is in it is lost then"))
    }

    /// Writes the file; says whether anything was written.
    pub fn write(&self, force: bool) -> Result<bool> {
        if self.found == Found::Current {
            return Ok(false);
        }
        self.ours(force)?;
        let failed =
            |e: std::io::Error| Failure::new(Kind::Failed, format!("cannot write {}: {e}", self.path.display()));
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut file = DurableFile::new_in(folder).map_err(failed)?;
        file.write_all(text().as_bytes()).map_err(failed)?;
        file.for_people().and_then(|file| file.persist(&self.path)).map_err(failed)?;
        Ok(true)
    }

    /// Takes the file away; says whether there was one.
    pub fn remove(&self, force: bool) -> Result<bool> {
        if self.found == Found::Nothing {
            return Ok(false);
        }
        self.ours(force)?;
        let removed = std::fs::remove_file(&self.path);
        removed.map_err(|e| Failure::new(Kind::Failed, format!("cannot remove {}: {e}", self.path.display())))?;
        Ok(true)
    }
}

/// The file of this version.
fn text() -> String {
    format!("{MARK}{}, {}\n{BODY}", env!("CARGO_PKG_VERSION"), Digest::of(BODY.as_bytes()))
}

fn read(found: &str) -> Found {
    if found == text() {
        return Found::Current;
    }
    let Some((first, body)) = found.split_once('\n') else { return Found::Foreign };
    let Some((version, digest)) = first.strip_prefix(MARK).and_then(|rest| rest.split_once(", ")) else {
        return Found::Foreign;
    };
    if digest == Digest::of(body.as_bytes()).to_string() { Found::Version(version.to_owned()) } else { Found::Edited }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wrote_a_file_is_known() {
        assert_eq!(read(&text()), Found::Current);
        assert_eq!(read(&text().replace("def ", "def  ")), Found::Edited);
        assert_eq!(read("from tutor import hooks\n"), Found::Foreign);
        let old = "# older\n";
        assert_eq!(
            read(&format!("{MARK}0.0.9, {}\n{old}", Digest::of(old.as_bytes()))),
            Found::Version("0.0.9".to_owned())
        );
    }

    #[test]
    fn work_of_somebody_else_is_replaced_and_removed_only_when_told() {
        let dir = tempfile::tempdir().unwrap();
        let look = || Plugin::look(&dir.path().join("plugins")).unwrap();
        assert!(!look().remove(false).unwrap());
        assert!(look().write(false).unwrap());
        assert!(!look().write(false).unwrap());
        let path = look().path;
        std::fs::write(&path, text() + "# mine\n").unwrap();
        assert!(look().write(false).is_err() && look().remove(false).is_err());
        assert!(look().write(true).unwrap());
        assert_eq!(look().found, Found::Current);
        std::fs::write(&path, "# older\n").unwrap();
        assert!(look().remove(false).is_err() && look().remove(true).unwrap());
        assert_eq!(look().found, Found::Nothing);
    }
}
