//! Compares passwords with bcrypt hashes, which is slow on purpose: on threads that may block, a few at a time, and once in a while for those that
//! fitted. A push of a hundred blobs would otherwise spend its time here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::error::Result;
use super::htpasswd::{Htpasswd, getrandom};
use super::watched::Watched;

/// For how long a password that fitted needs not be compared again.
const REMEMBERED: Duration = Duration::from_secs(300);
/// How many are remembered.
const MOST: usize = 1024;
/// For how long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest password that is looked at. bcrypt itself takes 72 bytes.
const LONGEST: usize = 1024;

/// What a password came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the user's.
    Fits,
    /// It is not, or there is no such user.
    Wrong,
    /// Too many wait, or the client tried too often.
    Busy,
}

/// The passwords of a file.
pub(super) struct Passwords {
    file: Arc<Watched<Htpasswd>>,
    turns: Semaphore,
    /// Keyed with what nobody else knows: who reads the memory of a later process cannot try passwords on it.
    key: [u8; 32],
    fitted: Mutex<HashMap<blake3::Hash, Instant>>,
}

impl Passwords {
    pub fn new(file: Arc<Watched<Htpasswd>>) -> Result<Self> {
        let mut key = [0; 32];
        getrandom(&mut key)?;
        // Half of the processors are left to those who are logged in.
        let turns = std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2));
        Ok(Self { file, turns: Semaphore::new(turns), key, fitted: Mutex::default() })
    }

    /// Whether there is such a user now.
    pub fn has(&self, user: &str) -> bool {
        self.file.get().has(user)
    }

    /// Whether this password fitted a short while ago. Costs next to nothing.
    pub fn fitted_lately(&self, user: &str, password: &str) -> bool {
        let file = self.file.get();
        let (hash, known) = file.hash(user);
        let key = self.remembrance(user, password, hash);
        known && self.lock().get(&key).is_some_and(|until| Instant::now() < *until)
    }

    /// Compares, unless the client has been `barred` by the time that it is its turn. An unknown user costs as much as a known one.
    pub async fn verify(&self, user: &str, password: &str, barred: impl Fn() -> bool) -> Verdict {
        let file = self.file.get();
        let (hash, known) = file.hash(user);
        if password.len() > LONGEST {
            return Verdict::Wrong;
        }
        let Ok(Ok(_turn)) = tokio::time::timeout(PATIENCE, self.turns.acquire()).await else { return Verdict::Busy };
        if barred() {
            return Verdict::Busy;
        }
        let (given, kept) = (password.to_owned(), hash.to_owned());
        let fits = tokio::task::spawn_blocking(move || bcrypt::verify(given, &kept).unwrap_or(false)).await;
        if !(fits.unwrap_or(false) && known) {
            return Verdict::Wrong;
        }
        let key = self.remembrance(user, password, hash);
        let now = Instant::now();
        let mut fitted = self.lock();
        if fitted.len() >= MOST {
            fitted.retain(|_, until| now < *until);
            if fitted.len() >= MOST {
                fitted.clear();
            }
        }
        fitted.insert(key, now + REMEMBERED);
        Verdict::Fits
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<blake3::Hash, Instant>> {
        self.fitted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With the hash in it: a new password in the file counts at once.
    fn remembrance(&self, user: &str, password: &str, hash: &str) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in [user, password, hash] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_compared_once_and_again_when_the_file_changes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |password: &str, more: &str| {
            std::fs::write(file.path(), format!("ada:{}\n{more}", bcrypt::hash(password, 4).unwrap())).unwrap();
        };
        write("first", "");
        let path = file.path().to_owned();
        let watched = Arc::new(Watched::new(vec![path.clone()], move || Htpasswd::load(&path)).unwrap());
        let passwords = Passwords::new(watched.clone()).unwrap();
        assert!(!passwords.fitted_lately("ada", "first"));
        assert_eq!(passwords.verify("ada", "first", || false).await, Verdict::Fits);
        assert!(passwords.fitted_lately("ada", "first"));
        for (user, password) in [("ada", "second"), ("eve", "first"), ("ada", "")] {
            assert_eq!(passwords.verify(user, password, || false).await, Verdict::Wrong);
            assert!(!passwords.fitted_lately(user, password));
        }
        write("second", "# of another size\n");
        watched.refresh();
        assert!(!passwords.fitted_lately("ada", "first"));
        assert_eq!(passwords.verify("ada", "first", || false).await, Verdict::Wrong);
        assert_eq!(passwords.verify("ada", "second", || true).await, Verdict::Busy);
        assert_eq!(passwords.verify("ada", "second", || false).await, Verdict::Fits);
    }
}
