//! Who somebody is, and what they may do.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::access::Access;
use super::jwt::Signer;
use super::passwords::{Passwords, Verdict};
use super::scope::{Actions, Grants, Scope};
use super::throttle::Throttle;
use super::tokens::{KnownTokens, PREFIX};
use super::watched::Watched;

/// How long somebody waits who guessed wrong too often and whom nothing more exact is known of.
const SOON: Duration = Duration::from_secs(5);

/// Somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// Anybody.
    Anonymous,
    /// A user of the password file.
    User(String),
    /// A token that lasts.
    Token(String),
}

impl Subject {
    /// Reads what [`Subject`] writes.
    fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "-" => Some(Self::Anonymous),
            Some(("user", name)) => Some(Self::User(name.to_owned())),
            Some(("token", name)) => Some(Self::Token(name.to_owned())),
            _ => None,
        }
    }
}

/// As it stands in tokens and in the log. The two kinds cannot be taken for each other.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("-"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Token(name) => write!(f, "token:{name}"),
        }
    }
}

/// Somebody with what they showed.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub subject: Subject,
    /// What the short-lived token opens that was shown; without one, all that they may.
    pub narrowed: Option<Vec<Scope>>,
}

/// Credentials that do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// They are wrong.
    Wrong,
    /// The short-lived token is wrong or its time has passed.
    Expired,
    /// Too many failures; wait.
    Slow(Duration),
}

/// What a request comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Allowed,
    /// Somebody who logged in might.
    LogIn,
    /// The token opens less than its owner may.
    Insufficient,
    Denied,
}

/// All that is known of users.
pub(super) struct Auth {
    pub passwords: Option<Passwords>,
    pub access: Arc<Watched<Access>>,
    pub tokens: Arc<Watched<KnownTokens>>,
    pub signer: Signer,
    pub throttle: Throttle,
    /// Whether anybody may read.
    pub anonymous_pull: bool,
}

impl Auth {
    /// Who sends such headers.
    pub async fn login(&self, headers: &HeaderMap, remote: IpAddr) -> Result<Login, Refusal> {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Ok(Login { subject: Subject::Anonymous, narrowed: None });
        };
        let (scheme, rest) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(Refusal::Wrong)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("basic") {
            let (user, password) = basic(rest).ok_or(Refusal::Wrong)?;
            let subject = self.password(&user, &password, remote).await?;
            return Ok(Login { subject, narrowed: None });
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Refusal::Wrong);
        }
        if rest.starts_with(PREFIX) {
            return Ok(Login { subject: self.secret(rest, remote)?, narrowed: None });
        }
        let (subject, scopes) = self.signer.read(rest).ok_or(Refusal::Expired)?;
        let subject = Subject::parse(&subject).ok_or(Refusal::Expired)?;
        // Who was taken away or ended since is nobody.
        self.grants(&subject).ok_or(Refusal::Expired)?;
        Ok(Login { subject, narrowed: Some(scopes) })
    }

    /// Who has this name and password. The password may be the secret of a token, with any name.
    pub async fn password(&self, user: &str, password: &str, remote: IpAddr) -> Result<Subject, Refusal> {
        if password.starts_with(PREFIX) {
            return self.secret(password, remote);
        }
        let Some(passwords) = &self.passwords else { return Err(self.failed(remote)) };
        if passwords.fitted_lately(user, password) {
            return Ok(Subject::User(user.to_owned()));
        }
        if let Some(wait) = self.throttle.wait(remote) {
            return Err(Refusal::Slow(wait));
        }
        match passwords.verify(user, password, || self.throttle.wait(remote).is_some()).await {
            Verdict::Fits => Ok(Subject::User(user.to_owned())),
            Verdict::Wrong => Err(self.failed(remote)),
            Verdict::Busy => Err(Refusal::Slow(self.throttle.wait(remote).unwrap_or(SOON))),
        }
    }

    /// Whose secret this is. Nobody guesses one, so looking is free; failures count all the same.
    pub fn secret(&self, secret: &str, remote: IpAddr) -> Result<Subject, Refusal> {
        let name = self.tokens.get().find(secret).map(str::to_owned);
        name.map(Subject::Token).ok_or_else(|| self.failed(remote))
    }

    fn failed(&self, remote: IpAddr) -> Refusal {
        self.throttle.failed(remote);
        Refusal::Wrong
    }

    /// What somebody may do now; nothing for who is not there any more.
    pub fn grants(&self, subject: &Subject) -> Option<Grants> {
        match subject {
            Subject::Anonymous if self.anonymous_pull => {
                let all = Scope::Repository { name: "**".to_owned(), actions: Actions::PULL };
                Some(Grants::new(&[all, Scope::Catalog]))
            }
            Subject::Anonymous => None,
            Subject::User(name) => {
                let known = self.passwords.as_ref().is_some_and(|passwords| passwords.has(name));
                known.then(|| self.access.get().of(name))
            }
            Subject::Token(name) => self.tokens.get().grants(name),
        }
    }

    /// Whether somebody may do all of this; `needs` name repositories and no patterns. Nothing at all is for everybody who logged in.
    pub fn decide(&self, login: &Login, needs: &[Scope]) -> Decision {
        let anonymous = login.subject == Subject::Anonymous;
        if needs.is_empty() {
            let known = !anonymous || login.narrowed.is_some();
            return if known { Decision::Allowed } else { Decision::LogIn };
        }
        let grants = self.grants(&login.subject).unwrap_or_default();
        let may = needs.iter().all(|need| match need {
            Scope::Repository { name, actions } => grants.on(name).include(*actions),
            Scope::Catalog => grants.catalog(),
        });
        let opened = login.narrowed.as_ref().is_none_or(|opens| needs.iter().all(|need| opens_for(opens, need)));
        match (may, opened) {
            (true, true) => Decision::Allowed,
            (true, false) => Decision::Insufficient,
            (false, _) if anonymous => Decision::LogIn,
            (false, _) => Decision::Denied,
        }
    }
}

/// Whether a short-lived token opens this. Its names are names: a `*` in one is no pattern.
fn opens_for(opens: &[Scope], need: &Scope) -> bool {
    match need {
        Scope::Catalog => opens.contains(&Scope::Catalog),
        Scope::Repository { name, actions } => {
            let same = opens.iter().filter_map(|scope| match scope {
                Scope::Repository { name: one, actions } if one == name => Some(*actions),
                _ => None,
            });
            same.fold(Actions::NONE, Actions::with).include(*actions)
        }
    }
}

/// Name and password of RFC 7617.
fn basic(text: &str) -> Option<(String, String)> {
    let text = String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
