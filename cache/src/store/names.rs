//! Names that point at something: images, tags, packed manifests. Who uses a space says what its values mean.

use rusqlite::{OptionalExtension, params};

use super::Store;
use crate::Result;

impl Store {
    /// What a name points at.
    ///
    /// # Errors
    /// The database fails.
    pub fn name(&self, space: &str, name: &str) -> Result<Option<String>> {
        self.query(|db| {
            db.prepare_cached("SELECT value FROM names WHERE space = ?1 AND name = ?2")?
                .query_row([space, name], |row| row.get(0))
                .optional()
        })
    }

    /// Points a name at something, whatever it pointed at before.
    ///
    /// # Errors
    /// The database fails.
    pub fn set_name(&self, space: &str, name: &str, value: &str) -> Result<()> {
        self.transact(|db| db.execute("INSERT OR REPLACE INTO names VALUES (?1, ?2, ?3)", [space, name, value]))?;
        Ok(())
    }

    /// Points a name at something if it points at nothing yet; returns what it points at now. Of several processes at
    /// once, one wins. A name that never moves is a promise, so it is on disk when this returns.
    ///
    /// # Errors
    /// The database fails.
    pub fn create_name(&self, space: &str, name: &str, value: &str) -> Result<String> {
        self.transact_durably(|db| {
            db.execute("INSERT OR IGNORE INTO names VALUES (?1, ?2, ?3)", [space, name, value])?;
            db.query_row("SELECT value FROM names WHERE space = ?1 AND name = ?2", [space, name], |row| row.get(0))
        })
    }

    /// Takes a name away; says whether it was there.
    ///
    /// # Errors
    /// The database fails.
    pub fn remove_name(&self, space: &str, name: &str) -> Result<bool> {
        Ok(self.transact(|db| db.execute("DELETE FROM names WHERE space = ?1 AND name = ?2", [space, name]))? > 0)
    }

    /// The names of a space that begin so and go on, with what they point at, sorted.
    ///
    /// # Errors
    /// The database fails.
    pub fn names_after(&self, space: &str, beginning: &str) -> Result<Vec<(String, String)>> {
        // No name has the last character of all in it.
        self.query(|db| {
            db.prepare_cached(
                "SELECT name, value FROM names WHERE space = ?1 AND name > ?2 AND name < ?2 || char(1114111) ORDER BY name",
            )?
            .query_map(params![space, beginning], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        })
    }

    /// All names of a space with what they point at, sorted.
    ///
    /// # Errors
    /// The database fails.
    pub fn names(&self, space: &str) -> Result<Vec<(String, String)>> {
        self.query(|db| {
            db.prepare_cached("SELECT name, value FROM names WHERE space = ?1 ORDER BY name")?
                .query_map(params![space], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }

    /// All names of a space without what they point at, sorted.
    ///
    /// # Errors
    /// The database fails.
    pub fn names_alone(&self, space: &str) -> Result<Vec<String>> {
        self.query(|db| {
            db.prepare_cached("SELECT name FROM names WHERE space = ?1 ORDER BY name")?
                .query_map(params![space], |row| row.get(0))?
                .collect()
        })
    }

    /// The names of a space that lie below a name, `folder/...`, with what they point at, sorted.
    ///
    /// # Errors
    /// The database fails.
    pub fn names_below(&self, space: &str, folder: &str) -> Result<Vec<(String, String)>> {
        self.names_after(space, &format!("{folder}/"))
    }
}

#[cfg(test)]
mod tests {
    use crate::Store;

    #[test]
    fn of_many_who_create_a_name_one_wins_and_all_learn_who() {
        let home = tempfile::tempdir().unwrap();
        let got: Vec<String> = std::thread::scope(|s| {
            let threads: Vec<_> = (0..8)
                .map(|i| {
                    let home = home.path();
                    s.spawn(move || Store::open(home).unwrap().create_name("tag", "1.0.0", &i.to_string()).unwrap())
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(got.iter().all(|g| *g == got[0]), "{got:?}");
    }

    #[test]
    fn names_that_begin_so_are_found_and_others_are_not() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        for name in ["a", "a:", "a:1", "a:\u{fc}", "a;", "aa:1", "b:1"] {
            store.set_name("x", name, "").unwrap();
        }
        let names: Vec<_> = store.names_after("x", "a:").unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a:1", "a:\u{fc}"]);
    }

    #[test]
    fn spaces_are_apart() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        store.set_name("a", "x", "1").unwrap();
        store.set_name("b", "x", "2").unwrap();
        assert_eq!(store.names("a").unwrap(), [("x".to_owned(), "1".to_owned())]);
        assert_eq!(store.names_alone("a").unwrap(), ["x"]);
        assert!(store.remove_name("a", "x").unwrap());
        assert_eq!(store.name("a", "x").unwrap(), None);
        assert_eq!(store.name("b", "x").unwrap().as_deref(), Some("2"));
    }

    #[test]
    fn names_below_a_name_are_those_of_its_folder_and_no_others() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        for name in ["a", "a/1", "a/2/3", "a-1", "a0", "ab/1", "b/1"] {
            store.set_name("x", name, "").unwrap();
        }
        store.set_name("y", "a/9", "").unwrap();
        let below =
            |folder| store.names_below("x", folder).unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(below("a"), ["a/1", "a/2/3"]);
        assert_eq!(below("none"), Vec::<String>::new());
    }
}
