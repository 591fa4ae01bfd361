//! Who we are to a registry: Docker's `config.json` and its credential helpers.

pub(crate) mod token;

use std::fmt;
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError, DockerCredential};

/// Credentials that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The file cannot be read.
    #[error("cannot read the credentials in {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file or an entry of it makes no sense.
    #[error("the credentials for {registry} in {} are broken: {why}; log in again with `docker login {registry}`", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The registry.
        registry: String,
        /// What is wrong.
        why: String,
    },
    /// A credential helper failed.
    #[error("the credential helper that {} names for {registry} failed: {why}", path.display())]
    Helper {
        /// The file.
        path: PathBuf,
        /// The registry.
        registry: String,
        /// What it says.
        why: String,
    },
}

/// What a registry wants to know of us. Shows its secret to nobody.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// Nothing.
    Anonymous,
    /// Name and password.
    Password {
        /// The name.
        user: String,
        /// The password, or an access token in its place.
        password: String,
    },
    /// A token that is exchanged for one that opens a repository.
    IdentityToken(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Password { user, .. } => write!(f, "Password({user})"),
            Self::IdentityToken(_) => f.write_str("IdentityToken"),
        }
    }
}

/// Where credentials come from.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    files: Vec<PathBuf>,
}

impl Credentials {
    /// From Docker's file, usually `~/.docker/config.json`. That it is not there is fine.
    pub fn from_file(path: &Path) -> Self {
        Self::anonymous().or_file(path)
    }

    /// None at all.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// The same, and another file for registries that these say nothing of.
    #[must_use]
    pub fn or_file(mut self, path: &Path) -> Self {
        self.files.push(path.to_owned());
        self
    }

    /// The credentials for a registry, `host[:port]`. May run a credential helper, which may take its time.
    ///
    /// # Errors
    /// The file is broken, or a helper fails.
    pub fn login(&self, registry: &str) -> Result<Login, AuthError> {
        for path in &self.files {
            match login_in(path, registry)? {
                Login::Anonymous => {}
                login => return Ok(login),
            }
        }
        Ok(Login::Anonymous)
    }

    /// For messages: who was refused.
    pub(crate) fn describe(&self, login: &Login) -> String {
        let files: Vec<String> = self.files.iter().map(|f| f.display().to_string()).collect();
        let file = if files.is_empty() { String::new() } else { format!(" from {}", files.join(" or ")) };
        match login {
            Login::Anonymous if !files.is_empty() => format!("an anonymous request (no credentials{file})"),
            Login::Anonymous => "an anonymous request".to_owned(),
            Login::Password { user, .. } => format!("user `{user}`{file}"),
            Login::IdentityToken(_) => format!("the identity token{file}"),
        }
    }
}

/// What one file says.
fn login_in(path: &Path, registry: &str) -> Result<Login, AuthError> {
    let path = path.to_owned();
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Login::Anonymous),
        Err(source) => return Err(AuthError::Read { path, source }),
    };
    // The name under which `docker login` keeps Docker Hub (moby, registry/config.go, `IndexServer`).
    let server = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
    let registry = registry.to_owned();
    let broken = |why: &str| AuthError::Broken { path: path.clone(), registry: registry.clone(), why: why.to_owned() };
    match docker_credential::get_credential_from_reader(&bytes[..], server) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(Login::Password { user, password }),
        Ok(DockerCredential::IdentityToken(token)) => Ok(Login::IdentityToken(token)),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(Login::Anonymous),
        Err(CredentialRetrievalError::ConfigReadError) => Err(broken("it is not the JSON that Docker writes")),
        Err(CredentialRetrievalError::CredentialDecodingError) => Err(broken("`auth` is not base64 of user:password")),
        Err(CredentialRetrievalError::CredentialMismatchError) => {
            Err(broken("`auth` and `username`/`password` differ"))
        }
        // What a helper prints may be a secret unless it failed; then it says why, and "not found" is an answer
        // (docker-credential-helpers, credentials/error.go).
        Err(CredentialRetrievalError::HelperFailure { stdout, .. }) if stdout.contains("credentials not found") => {
            Ok(Login::Anonymous)
        }
        Err(CredentialRetrievalError::HelperFailure { helper, stdout, stderr }) => {
            let said = if stderr.trim().is_empty() { stdout } else { stderr };
            let why = format!("{helper}: {}", said.trim());
            Err(AuthError::Helper { path, registry, why })
        }
        Err(other) => {
            let why = format!("{other}; is docker-credential-... in the PATH?");
            Err(AuthError::Helper { path, registry, why })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> (tempfile::TempDir, Credentials) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        (dir, Credentials::from_file(&path))
    }

    #[test]
    fn auths_tokens_and_nothing() {
        let (_dir, credentials) = with(
            r#"{"auths":{"localhost:5000":{"auth":"Y2FtcHVzOnM6M2NyZXQ="},
                "https://index.docker.io/v1/":{"auth":"aHViOnB3"},"t.example":{"auth":"eDo=","identitytoken":"tok"}}}"#,
        );
        let password = |user: &str, password: &str| Login::Password { user: user.into(), password: password.into() };
        assert_eq!(credentials.login("localhost:5000").unwrap(), password("campus", "s:3cret"));
        assert_eq!(credentials.login("docker.io").unwrap(), password("hub", "pw"));
        assert_eq!(credentials.login("t.example").unwrap(), Login::IdentityToken("tok".into()));
        assert_eq!(credentials.login("other.example").unwrap(), Login::Anonymous);
        let missing = Credentials::from_file(Path::new("/nowhere/config.json"));
        assert_eq!(missing.login("localhost:5000").unwrap(), Login::Anonymous);
    }

    #[test]
    fn of_several_files_the_first_that_knows_a_registry_counts() {
        let (_a, first) = with(r#"{"auths":{"r.example":{"auth":"YTph"}}}"#);
        let (b, second) = with(r#"{"auths":{"r.example":{"auth":"YjpiCg=="},"q.example":{"auth":"YjpiCg=="}}}"#);
        let both = first.or_file(&b.path().join("config.json"));
        let user = |registry| match both.login(registry).unwrap() {
            Login::Password { user, .. } => user,
            other => panic!("{other:?}"),
        };
        assert_eq!((user("r.example"), user("q.example")), ("a".to_owned(), "b".to_owned()));
        assert_eq!(second.login("q.example").unwrap(), both.login("q.example").unwrap());
        assert_eq!(both.login("none.example").unwrap(), Login::Anonymous);
    }

    #[test]
    fn broken_files_name_the_file_and_the_registry_and_no_secret() {
        for text in ["{", r#"{"auths":{"r.example":{"auth":"%%%"}}}"#] {
            let (dir, credentials) = with(text);
            let error = credentials.login("r.example").unwrap_err().to_string();
            assert!(error.contains("r.example") && error.contains(&dir.path().display().to_string()), "{error}");
        }
        let login = Login::Password { user: "u".into(), password: "s3cret".into() };
        assert!(!format!("{login:?} {}", Credentials::anonymous().describe(&login)).contains("s3cret"));
    }

    #[test]
    fn a_helper_that_is_missing_is_an_error() {
        let (_dir, credentials) = with(r#"{"credHelpers":{"r.example":"shiplap-none"}}"#);
        assert!(matches!(credentials.login("r.example"), Err(AuthError::Helper { .. })));
        assert_eq!(credentials.login("other.example").unwrap(), Login::Anonymous);
    }
}
