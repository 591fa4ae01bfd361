//! A password file as `htpasswd -B` of the Apache server writes it: `USER:BCRYPT` lines.

use std::collections::HashMap;
use std::path::Path;

use bcrypt::HashParts;

use super::error::{At, FrontError, Result};

/// Users and the bcrypt hashes of their passwords.
#[derive(Clone)]
pub struct Htpasswd {
    users: HashMap<String, String>,
    /// A hash that nobody knows the password of, as slow as the slowest entry: what unknown users are compared with.
    nobody: String,
}

impl std::fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Htpasswd({} users)", self.users.len())
    }
}

impl Htpasswd {
    /// Reads a file. Empty lines and those that begin with `#` are skipped.
    ///
    /// # Errors
    /// The file cannot be read, or a line is no user with a bcrypt hash; the error names the line and not what is on it.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).at("read the passwords in", path)?;
        let mut users = HashMap::new();
        let mut cost = bcrypt::DEFAULT_COST;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: &str| FrontError::Line { path: path.to_owned(), line: number + 1, why: why.to_owned() };
            let (user, hash) = line.split_once(':').ok_or_else(|| wrong("it is not USER:HASH"))?;
            if user.is_empty() || user.chars().any(char::is_control) {
                return Err(wrong("the name of the user is empty or has control characters"));
            }
            let bcrypt = ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix));
            let parts = bcrypt.then(|| hash.parse::<HashParts>().ok()).flatten().ok_or_else(|| {
                wrong("the password is no bcrypt hash, the only kind that is taken; make the entry anew with `htpasswd -B`")
            })?;
            cost = if users.is_empty() { parts.get_cost() } else { cost.max(parts.get_cost()) };
            if users.insert(user.to_owned(), hash.to_owned()).is_some() {
                return Err(wrong("this user is there twice"));
            }
        }
        let mut unknown = [0; 16];
        getrandom(&mut unknown)?;
        let nobody = bcrypt::hash(unknown, cost)
            .map_err(|e| FrontError::File { path: path.to_owned(), why: format!("bcrypt cannot be computed: {e}") })?;
        Ok(Self { users, nobody })
    }

    /// The hash of a user, or one that fits no password; and whether there is such a user.
    pub(super) fn hash(&self, user: &str) -> (&str, bool) {
        match self.users.get(user) {
            Some(hash) => (hash, true),
            None => (&self.nobody, false),
        }
    }

    /// Whether there is such a user.
    pub fn has(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is no user.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

/// Random bytes of the system.
pub(super) fn getrandom(bytes: &mut [u8]) -> Result<()> {
    use ring::rand::SecureRandom;
    ring::rand::SystemRandom::new().fill(bytes).map_err(|_| FrontError::Random)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Htpasswd> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Htpasswd::load(file.path())
    }

    #[test]
    fn bcrypt_is_taken_and_an_unknown_user_costs_as_much_as_the_dearest() {
        let (ada, bob) = (bcrypt::hash("a", 4).unwrap(), bcrypt::hash("b", 6).unwrap().replace("$2b$", "$2y$"));
        let file = load(&format!("# ours\n\nada:{ada}\nbob:{bob}\n")).unwrap();
        assert_eq!(file.hash("bob"), (bob.as_str(), true));
        let (nobody, known) = file.hash("eve");
        assert!(!known && nobody.contains("$06$"), "{nobody}");
        assert_eq!(file.len(), 2);
    }

    #[test]
    fn another_kind_of_entry_is_refused_with_its_line_and_without_what_is_on_it() {
        let good = bcrypt::hash("a", 4).unwrap();
        for bad in
            ["bob:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=", "bob:$apr1$abc$xyz", "bob:hunter2", "bob:$2x$04$abc", "bob", ":x"]
        {
            let error = load(&format!("ada:{good}\n{bad}\n")).unwrap_err().to_string();
            assert!(error.contains(", line 2: "), "{error}");
            assert!(!error.contains("hunter2") && !error.contains("VBPuJH"), "{error}");
        }
        assert!(load(&format!("ada:{good}\nada:{good}\n")).unwrap_err().to_string().contains("twice"));
    }
}
