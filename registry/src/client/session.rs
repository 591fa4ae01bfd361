//! One repository, one kind of access.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures::StreamExt;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, LINK};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::Deserialize;
use shiplap_cache::Digest;
use tokio::sync::RwLock;

use super::ClientOptions;
use super::fault::{Fault, short};
use super::host::Host;
use super::retry::Pauses;
use crate::media::MANIFESTS;
use crate::{Event, Reference, RemoteError, Repository, Result, Trouble};

/// Manifests, indexes and lists are held in memory. The distribution-spec asks registries to take manifests of 4 MiB (*Pushing Manifests*),
/// and no registry takes more.
pub(super) const MAX_DOCUMENT: usize = 4 << 20;

/// A registry with more pages of tags or referrers than this does not stop.
const MAX_PAGES: usize = 10_000;

/// What a session may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    Pull,
    Push,
    Delete,
}

/// What came of a wish to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Removal {
    /// It is not there, or not any more.
    Done,
    /// The registry does not delete such a thing, in its words.
    Unsupported(String),
}

pub(super) struct Session {
    pub host: Arc<Host>,
    pub repository: Repository,
    pub options: Arc<ClientOptions>,
    /// Held for reading by everything that runs in threads of its own.
    pub running: Arc<RwLock<()>>,
    scopes: Vec<String>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({}, {:?})", self.repository, self.host)
    }
}

#[derive(Deserialize)]
struct TagList {
    // Some registries write `null` for a repository without tags.
    tags: Option<Vec<String>>,
}

impl Session {
    pub fn new(host: Arc<Host>, repository: &Repository, access: Access, options: Arc<ClientOptions>) -> Self {
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
            Access::Delete => "pull,delete",
        };
        let scopes = vec![format!("repository:{}:{actions}", repository.path())];
        Self { host, repository: repository.clone(), options, running: Arc::default(), scopes }
    }

    /// An error of this session.
    pub fn error(&self, what: &str, trouble: Trouble) -> RemoteError {
        RemoteError { repository: Box::new(self.repository.clone()), what: what.to_owned(), trouble }
    }

    pub fn explain(&self, what: &str, fault: Fault) -> RemoteError {
        let trouble = fault.explain(&self.repository, &self.host.who);
        self.error(what, trouble)
    }

    /// An address in the repository.
    pub fn url(&self, path: &str) -> Result<Url, Fault> {
        self.host.url(&format!("{}/{path}", self.repository.path()))
    }

    /// Runs something that waits for the disk or computes for long, in a thread of its own.
    pub async fn blocking<T: Send + 'static>(&self, f: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let running = self.running.clone().read_owned().await;
        let task = tokio::task::spawn_blocking(move || {
            let result = f();
            drop(running);
            result
        });
        task.await.map_err(|e| self.error("keep a blob or a layer", Trouble::Other(e.to_string())))?
    }

    /// Tries something again, with growing pauses, as long as that may help.
    pub async fn attempt<T, F>(&self, what: &str, mut call: impl FnMut() -> F) -> Result<T, RemoteError>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let mut pauses = Pauses::new(&self.options);
        loop {
            match call().await {
                Ok(done) => return Ok(done),
                Err(fault) => self.pause(what, fault, &mut pauses).await?,
            }
        }
    }

    /// Waits until it is time for another attempt, or says why there will be none.
    pub async fn pause(&self, what: &str, fault: Fault, pauses: &mut Pauses) -> Result<(), RemoteError> {
        let pause = if fault.is_transient() { pauses.next(fault.retry_after()) } else { None };
        let Some(pause) = pause else { return Err(self.explain(what, fault)) };
        self.options.progress.event(Event::Retry { what: what.to_owned(), why: fault.brief() });
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Sends a request that has no large body, and waits for the head of the answer.
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        dress: impl FnMut(RequestBuilder) -> Result<RequestBuilder, Fault>,
    ) -> Result<Response, Fault> {
        self.send_as(&self.scopes, method, url, dress).await
    }

    /// The same, with more doors to open: `pull` from another repository.
    pub async fn send_with(&self, more: &str, method: Method, url: &Url) -> Result<Response, Fault> {
        let scopes = [self.scopes[0].clone(), format!("repository:{more}:pull")];
        self.send_as(&scopes, method, url, Ok).await
    }

    async fn send_as(
        &self,
        scopes: &[String],
        method: Method,
        url: &Url,
        dress: impl FnMut(RequestBuilder) -> Result<RequestBuilder, Fault>,
    ) -> Result<Response, Fault> {
        let carry = |request: RequestBuilder| async {
            match tokio::time::timeout(self.options.patience, request.send()).await {
                Ok(answer) => Ok(answer?),
                Err(_) => Err(self.stalled("there was no answer")),
            }
        };
        self.host.send(scopes, (method, url), dress, carry).await
    }

    /// Sends a request with a body that takes its time, and waits as `carry` does.
    pub async fn send_large<F: Future<Output = Result<Response, Fault>>>(
        &self,
        method: Method,
        url: &Url,
        dress: impl FnMut(RequestBuilder) -> Result<RequestBuilder, Fault>,
        carry: impl Fn(RequestBuilder) -> F,
    ) -> Result<Response, Fault> {
        self.host.send(&self.scopes, (method, url), dress, carry).await
    }

    pub fn stalled(&self, what: &str) -> Fault {
        Fault::Stalled(format!("{what} for {} seconds", self.options.patience.as_secs()))
    }

    /// The body of an answer, which may not be longer than a document is.
    pub async fn body(&self, response: Response) -> Result<Vec<u8>, Fault> {
        self.body_up_to(response, MAX_DOCUMENT as u64).await?.ok_or_else(|| {
            let why = format!("its answer is longer than the {MAX_DOCUMENT} bytes that a manifest may have");
            Fault::Final(Trouble::Other(why))
        })
    }

    /// The body of an answer, none when it is longer.
    async fn body_up_to(&self, response: Response, most: u64) -> Result<Option<Vec<u8>>, Fault> {
        let mut body = Vec::new();
        let mut stream = response.bytes_stream();
        loop {
            match tokio::time::timeout(self.options.patience, stream.next()).await {
                Ok(None) => return Ok(Some(body)),
                Ok(Some(chunk)) => body.extend_from_slice(&chunk?),
                Err(_) => return Err(self.stalled("nothing came")),
            }
            if body.len() as u64 > most {
                return Ok(None);
            }
        }
    }

    /// A blob that fits into memory, checked against its digest.
    pub async fn blob(&self, digest: &Digest, most: u64) -> Result<Vec<u8>, RemoteError> {
        let what = format!("pull blob {digest} of {}", self.repository.familiar());
        let call = || async {
            let url = self.url(&format!("blobs/{digest}"))?;
            // The bytes are to come as they are kept: their digest is of these.
            let answer =
                self.send(Method::GET, &url, |request| Ok(request.header(ACCEPT_ENCODING, "identity"))).await?;
            if answer.status() != 200 {
                return Err(Fault::of(answer).await);
            }
            let Some(bytes) = self.body_up_to(answer, most).await? else {
                let actual = format!("more than the {most} bytes that it should have");
                return Err(Fault::Final(Trouble::Corrupt { expected: *digest, actual }));
            };
            same(Some(*digest), Digest::of(&bytes))?;
            Ok(bytes)
        };
        self.attempt(&what, call).await
    }

    /// Deletes a manifest or a tag (distribution-spec, *Content Management*).
    pub async fn delete(&self, reference: &Reference) -> Result<Removal, RemoteError> {
        let what = format!("delete {}", reference.familiar());
        let call = || async {
            let answer = self.send(Method::DELETE, &self.manifest_url(reference)?, Ok).await?;
            if matches!(answer.status().as_u16(), 200 | 202 | 204 | 404) {
                return Ok(Removal::Done);
            }
            match Fault::of(answer).await {
                Fault::Answer(r) if matches!(r.status, 405 | 501) || r.has(&["UNSUPPORTED"]) => {
                    Ok(Removal::Unsupported(short(&r.message)))
                }
                fault => Err(fault),
            }
        };
        self.attempt(&what, call).await
    }

    /// The digest of a manifest, by `HEAD`.
    pub async fn digest(&self, reference: &Reference) -> Result<Digest, RemoteError> {
        let what = format!("look up {}", reference.familiar());
        self.attempt(&what, || self.look_up(reference)).await
    }

    /// One attempt to find the digest of a manifest.
    pub async fn look_up(&self, reference: &Reference) -> Result<Digest, Fault> {
        let url = self.manifest_url(reference)?;
        let answer = self.send(Method::HEAD, &url, accepting).await?;
        // Not every registry knows `HEAD`, or says the digest.
        let digest = match answer.status().as_u16() {
            200 => digest_of(answer.headers()),
            405 | 501 => None,
            _ => return Err(Fault::of(answer).await),
        };
        match digest {
            Some(digest) => same(reference.digest(), digest),
            None => Ok(self.get(reference).await?.1),
        }
    }

    /// A manifest's bytes, checked against its digest when the reference or the registry says one.
    pub async fn manifest(&self, reference: &Reference) -> Result<(Vec<u8>, Digest), RemoteError> {
        let what = format!("pull the manifest of {}", reference.familiar());
        self.attempt(&what, || self.get(reference)).await
    }

    async fn get(&self, reference: &Reference) -> Result<(Vec<u8>, Digest), Fault> {
        let url = self.manifest_url(reference)?;
        let answer = self.send(Method::GET, &url, accepting).await?;
        if answer.status() != 200 {
            return Err(Fault::of(answer).await);
        }
        let said = digest_of(answer.headers());
        let bytes = self.body(answer).await?;
        let actual = same(reference.digest().or(said), Digest::of(&bytes))?;
        Ok((bytes, actual))
    }

    pub fn manifest_url(&self, reference: &Reference) -> Result<Url, Fault> {
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => self.url(&format!("manifests/{digest}")),
            (None, tag) => self.url(&format!("manifests/{}", tag.unwrap_or("latest"))),
        }
    }

    pub async fn tags(&self) -> Result<Vec<String>, RemoteError> {
        let what = format!("list the tags of {}", self.repository.familiar());
        let (mut tags, mut next) = (Vec::new(), self.url("tags/list?n=1000").map_err(|e| self.explain(&what, e))?);
        for _ in 0..MAX_PAGES {
            let (page, more): (TagList, _) = self.page(&what, &next).await?;
            tags.extend(page.tags.unwrap_or_default());
            let Some(more) = more else { return Ok(tags) };
            next = more;
        }
        Err(self.error(&what, Trouble::Other("its list of tags does not end".to_owned())))
    }

    /// A page of a list, and where the next one is (RFC 8288; distribution-spec, *Listing Tags*).
    pub async fn page<T: for<'a> Deserialize<'a>>(
        &self,
        what: &str,
        url: &Url,
    ) -> Result<(T, Option<Url>), RemoteError> {
        let call = || async {
            let answer = self.send(Method::GET, url, Ok).await?;
            if answer.status() != 200 {
                return Err(Fault::of(answer).await);
            }
            let next = answer.headers().get(LINK).and_then(|link| link.to_str().ok()).and_then(next_of);
            let next = next.map(|link| self.host.resolve(url, link)).transpose()?;
            Ok((self.body(answer).await?, next))
        };
        let (bytes, next) = self.attempt(what, call).await?;
        let odd = |e: serde_json::Error| self.error(what, Trouble::Other(format!("its answer cannot be read: {e}")));
        Ok((serde_json::from_slice(&bytes).map_err(odd)?, next))
    }
}

/// Says which manifests we take.
fn accepting(request: RequestBuilder) -> Result<RequestBuilder, Fault> {
    Ok(request.header(ACCEPT, MANIFESTS.join(", ")))
}

/// What a registry says of the digest of what it sends, none in an algorithm other than ours.
pub(super) fn digest_of(headers: &HeaderMap) -> Option<Digest> {
    headers.get("docker-content-digest")?.to_str().ok()?.parse().ok()
}

fn same(expected: Option<Digest>, actual: Digest) -> Result<Digest, Fault> {
    match expected {
        Some(expected) if expected != actual => {
            Err(Fault::Final(Trouble::Corrupt { expected, actual: format!("bytes with the digest {actual}") }))
        }
        _ => Ok(actual),
    }
}

fn next_of(link: &str) -> Option<&str> {
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    (parameters.contains("rel=\"next\"") || parameters.contains("rel=next")).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_one_that_is_called_so() {
        assert_eq!(next_of("</v2/x/tags/list?last=a&n=2>; rel=\"next\""), Some("/v2/x/tags/list?last=a&n=2"));
        assert_eq!(next_of("</v2/x>; rel=next"), Some("/v2/x"));
        assert_eq!(next_of("</v2/x>; rel=\"prev\""), None);
        assert_eq!(next_of("nothing"), None);
    }
}
