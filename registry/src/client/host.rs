//! One registry: the way to it, who we are there, and the tokens that it gave us.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::Mutex;

use super::ClientOptions;
use super::fault::Fault;
use super::trust::{Way, http, ways};
use crate::auth::token::{self, Challenge, NoToken, Token};
use crate::auth::{AuthError, Login};
use crate::{Repository, Trouble};

/// Docker Hub's registry has another name than Docker Hub (moby, registry/config.go, `DefaultV2Registry`).
const HUB_HOST: &str = "registry-1.docker.io";

/// A registry as we know it.
pub(super) struct Host {
    http: reqwest::Client,
    base: Url,
    way: Way,
    login: Login,
    /// As whom we come, for messages.
    pub who: String,
    keys: Mutex<Keys>,
    /// It has shown that it does not take a blob with the request that opens an upload.
    pub refuses_single: AtomicBool,
    /// It has shown that it does not take a blob in one piece.
    pub refuses_whole: AtomicBool,
}

/// What opens its doors.
#[derive(Default)]
struct Keys {
    challenge: Option<Challenge>,
    tokens: BTreeMap<BTreeSet<String>, Token>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({}, {})", self.base, self.who)
    }
}

impl Host {
    /// Who we are to the registry of a repository.
    pub async fn login(
        repository: &Repository,
        options: &ClientOptions,
    ) -> Result<Result<(Login, String), AuthError>, Fault> {
        let (credentials, registry) = (options.credentials.clone(), repository.registry().to_owned());
        // A helper is a program that may ask its user something.
        let login = tokio::task::spawn_blocking(move || {
            let login = credentials.login(&registry)?;
            let who = credentials.describe(&login);
            Ok((login, who))
        });
        login.await.map_err(|e| Fault::Final(Trouble::Other(e.to_string())))
    }

    /// Finds the way to a registry. Where there is one only, nothing is asked.
    pub async fn find(
        repository: &Repository,
        options: &ClientOptions,
        (login, who): (Login, String),
    ) -> Result<Self, Fault> {
        let ways = ways(repository, options);
        let name = if repository.registry() == "docker.io" { HUB_HOST } else { repository.registry() };
        let mut first = None;
        for way in ways {
            let http = http(repository, *way, options).map_err(Fault::Final)?;
            let base = format!("{}://{name}/v2/", way.scheme());
            let base = base.parse::<Url>().map_err(|e| Fault::Final(Trouble::Other(format!("{base}: {e}"))))?;
            let mut keys = Keys::default();
            if ways.len() > 1 {
                match http.get(base.clone()).timeout(options.patience).send().await {
                    // A server that wants TLS says so in words.
                    Ok(answer) if *way == Way::Plain && answer.status() == StatusCode::BAD_REQUEST => {
                        first = Some(first.unwrap_or(Fault::of(answer).await));
                        continue;
                    }
                    Ok(answer) => keys.challenge = Challenge::of(answer.headers()),
                    Err(e) => {
                        first.get_or_insert(Fault::Network(e));
                        continue;
                    }
                }
            }
            let (refuses_single, refuses_whole) = Default::default();
            let keys = Mutex::new(keys);
            return Ok(Self { http, base, way: *way, login, who, keys, refuses_single, refuses_whole });
        }
        Err(first.unwrap_or_else(|| Fault::Final(Trouble::Other("there is no way to it".to_owned()))))
    }

    /// An address in the registry; `path` is what comes after `/v2/`.
    pub fn url(&self, path: &str) -> Result<Url, Fault> {
        self.resolve(&self.base, path)
    }

    /// What a `Location` means that came with the answer to `asked`: it may be relative (RFC 9110, 10.2.2).
    pub fn resolve(&self, asked: &Url, location: &str) -> Result<Url, Fault> {
        let url = asked.join(location);
        url.map_err(|_| {
            Fault::Final(Trouble::Other(format!("the registry sends us to `{location}`, which is no address")))
        })
    }

    /// Sends a request as whom we are. Answers of every kind are passed on; a registry that asks for a token, or for another one because
    /// ours has expired, is given one, and asked once more.
    ///
    /// `dress` adds to the request what it needs, and `carry` waits for the answer as long as is reasonable.
    pub async fn send<F>(
        &self,
        scopes: &[String],
        (method, url): (Method, &Url),
        mut dress: impl FnMut(RequestBuilder) -> Result<RequestBuilder, Fault>,
        carry: impl Fn(RequestBuilder) -> F,
    ) -> Result<Response, Fault>
    where
        F: Future<Output = Result<Response, Fault>>,
    {
        let mut again = false;
        loop {
            let mut builder = dress(self.http.request(method.clone(), url.clone()))?;
            // An upload may lead to another host, which gets no secret of ours (distribution-spec, *Pushing blobs*; CVE-2020-15157).
            let used = if self.is_ours(url) { self.authorization(scopes).await? } else { None };
            if let Some(header) = &used {
                builder = builder.header(AUTHORIZATION, header.clone());
            }
            let response = carry(builder).await?;
            let unauthorized = response.status() == StatusCode::UNAUTHORIZED && self.is_ours(response.url());
            if again || !unauthorized || !self.learn(&response, scopes, used.as_ref()).await {
                return Ok(response);
            }
            again = true;
        }
    }

    fn is_ours(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Takes note of what an answer asks for; says whether another request may do better.
    async fn learn(&self, response: &Response, scopes: &[String], used: Option<&HeaderValue>) -> bool {
        let Some(challenge) = Challenge::of(response.headers()) else { return false };
        let mut keys = self.keys.lock().await;
        let better = match &challenge {
            // Somebody beside us may have learned it first: what counts is what this request came with.
            Challenge::Basic => matches!(self.login, Login::Password { .. }) && used != self.basic().as_ref(),
            Challenge::Bearer { .. } => true,
        };
        if better {
            // Somebody beside us may have got a new one already.
            let key = scopes.iter().cloned().collect();
            if keys.tokens.get(&key).is_some_and(|token| Some(&token.header) == used) {
                keys.tokens.remove(&key);
            }
            keys.challenge = Some(challenge);
        }
        better
    }

    /// What to send along, if the registry wants anything. Who asks at the same time waits for the same token.
    async fn authorization(&self, scopes: &[String]) -> Result<Option<HeaderValue>, Fault> {
        let mut keys = self.keys.lock().await;
        let (realm, service) = match &keys.challenge {
            None => return Ok(None),
            Some(Challenge::Basic) => return Ok(self.basic()),
            Some(Challenge::Bearer { realm, service }) => (realm.clone(), service.clone()),
        };
        let key: BTreeSet<String> = scopes.iter().cloned().collect();
        if let Some(token) = keys.tokens.get(&key).filter(|token| token.until > Instant::now()) {
            return Ok(Some(token.header.clone()));
        }
        let open = self.way == Way::Plain;
        let token = token::fetch(&self.http, (&realm, service.as_deref()), scopes, &self.login, open).await;
        let token = match token {
            Ok(token) => token,
            Err(NoToken::Network(e)) => return Err(Fault::Network(e)),
            Err(NoToken::Odd(why)) => return Err(Fault::Final(Trouble::Other(why))),
            Err(NoToken::Status(answer)) => {
                return Err(match Fault::of(answer).await {
                    // Servers of tokens say 400 of an identity token that is not theirs (RFC 6749, 5.2).
                    Fault::Answer(refusal) if matches!(refusal.status, 400 | 404) => {
                        Fault::Answer(super::fault::Refusal { status: 401, ..refusal })
                    }
                    fault => fault,
                });
            }
        };
        let header = token.header.clone();
        keys.tokens.insert(key, token);
        Ok(Some(header))
    }

    fn basic(&self) -> Option<HeaderValue> {
        let Login::Password { user, password } = &self.login else { return None };
        // reqwest makes the header, so that nobody else has to know base64.
        let request = self.http.get(self.base.clone()).basic_auth(user, Some(password)).build().ok()?;
        request.headers().get(AUTHORIZATION).cloned()
    }
}

/// Registries that were found, by name.
pub(super) type Hosts = BTreeMap<String, Arc<Host>>;
