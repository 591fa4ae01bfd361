//! A registry in memory that takes pushes as it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use shiplap_cache::Digest;

use crate::fake::{Answer, Fake, Request, answer};

/// What it does not do, or does in a way of its own.
#[derive(Debug, Clone, Default)]
pub struct Habits {
    /// A blob with the request that opens the upload is taken.
    pub takes_single: bool,
    /// A blob in one piece is refused with this status.
    pub refuses_whole: Option<u16>,
    /// A blob in several pieces is refused with this status.
    pub refuses_pieces: Option<u16>,
    /// Bodies over this size are refused with 413.
    pub limit: Option<usize>,
    /// What it says the least size of a piece is.
    pub least: Option<usize>,
    /// The first uploads break after so many bytes.
    pub breaks: Vec<usize>,
    /// It forgets an upload that broke.
    pub forgets: bool,
    /// It mounts nothing, and opens an upload instead.
    pub mounts_nothing: bool,
    /// It does not see the blobs of so many manifests when these come first.
    pub sees_late: usize,
    /// It knows referrers and says so.
    pub keeps_referrers: bool,
}

#[derive(Debug, Default)]
pub struct State {
    pub blobs: BTreeMap<Digest, Vec<u8>>,
    pub uploads: BTreeMap<usize, Vec<u8>>,
    pub manifests: BTreeMap<String, (String, Vec<u8>)>,
    opened: usize,
    unseen: usize,
}

impl State {
    /// Once more it does not see the blobs of manifests.
    pub fn see_late_again(&mut self) {
        self.unseen = 0;
    }
}

pub struct Shelf {
    pub fake: Fake,
    pub state: Arc<Mutex<State>>,
}

impl Shelf {
    pub fn new(habits: Habits) -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let breaks = Mutex::new(habits.breaks.clone().into_iter());
        let cut = move |r: &Request| {
            let large = r.path.contains("/uploads/") && r.header("content-length").parse().unwrap_or(0) > 100_000;
            if large { breaks.lock().unwrap().next() } else { None }
        };
        let own = state.clone();
        let fake = Fake::cutting(cut, move |request| answer_of(&habits, &mut own.lock().unwrap(), request));
        Self { fake, state }
    }

    pub fn name(&self, path: &str) -> String {
        format!("127.0.0.1:{}/{path}", self.fake.port)
    }

    /// The bodies of requests, by method, that were about uploads and had one.
    pub fn sent(&self, method: &str) -> Vec<Request> {
        self.fake.seen().into_iter().filter(|r| r.is(method, "/uploads/") && !r.body.is_empty()).collect()
    }
}

fn refused(status: u16) -> Answer {
    answer(status).body(r#"{"errors":[{"code":"UNSUPPORTED","message":"not this way"}]}"#)
}

fn answer_of(habits: &Habits, state: &mut State, request: &Request) -> Answer {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let query: BTreeMap<&str, String> =
        query.split('&').filter_map(|q| q.split_once('=')).map(|(k, v)| (k, v.replace("%3A", ":"))).collect();
    let last = path.rsplit('/').next().unwrap();
    if habits.limit.is_some_and(|limit| request.body.len() > limit) {
        return answer(413);
    }
    match request.method.as_str() {
        "GET" if path == "/v2/" => answer(200),
        "GET" if path.contains("/referrers/") && habits.keeps_referrers => {
            let subject = format!("\"digest\":\"{last}\"");
            let mut all = Vec::new();
            for (name, (media, bytes)) in &state.manifests {
                let json: serde_json::Value = serde_json::from_slice(bytes).unwrap();
                if name.starts_with("sha256:") && json["subject"].to_string().contains(&subject) {
                    let kind = &json["artifactType"];
                    all.push(serde_json::json!({"mediaType": media, "digest": name, "size": bytes.len(), "artifactType": kind}));
                }
            }
            answer(200).body(serde_json::json!({"schemaVersion": 2, "manifests": all}).to_string())
        }
        "HEAD" | "GET" if path.contains("/manifests/") => match state.manifests.get(last) {
            Some((media, bytes)) => {
                let digest = Digest::of(bytes);
                answer(200).with("docker-content-digest", digest).with("content-type", media).body(bytes.clone())
            }
            None => answer(404),
        },
        "PUT" if path.contains("/manifests/") && state.unseen < habits.sees_late => {
            state.unseen += 1;
            answer(400).body(r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#)
        }
        "PUT" if path.contains("/manifests/") => {
            let (digest, media) = (Digest::of(&request.body), request.header("content-type").to_owned());
            let json: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            for name in [digest.to_string(), last.to_owned()] {
                state.manifests.insert(name, (media.clone(), request.body.clone()));
            }
            let made = answer(201).with("docker-content-digest", digest);
            match json["subject"]["digest"].as_str() {
                Some(subject) if habits.keeps_referrers => made.with("oci-subject", subject),
                _ => made,
            }
        }
        "HEAD" | "GET" if path.contains("/blobs/sha256:") => match state.blobs.get(&last.parse().unwrap()) {
            Some(bytes) => answer(200).body(bytes.clone()),
            None => answer(404),
        },
        "POST" => {
            let mounted = query.get("mount").and_then(|digest| digest.parse().ok());
            if mounted.is_some_and(|digest| state.blobs.contains_key(&digest)) && !habits.mounts_nothing {
                return answer(201);
            }
            if let Some(digest) = query.get("digest").filter(|_| habits.takes_single) {
                return keep(state, digest, request.body.clone());
            }
            state.opened += 1;
            let number = state.opened;
            state.uploads.insert(number, Vec::new());
            let opened = answer(202).with("location", format!("{number}?_state=a%2Fb"));
            habits.least.map_or(opened.clone(), |least| opened.with("oci-chunk-min-length", least))
        }
        method => {
            let number: usize = last.parse().unwrap();
            let Some(mut upload) = state.uploads.remove(&number) else {
                return answer(404).body(r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"forgotten"}]}"#);
            };
            assert_eq!(query.get("_state").map(String::as_str), Some("a%2Fb"), "the query of a Location is kept");
            let announced: usize = request.header("content-length").parse().unwrap_or(0);
            let is_whole = method == "PUT" && announced > 0;
            let refusal =
                if is_whole { habits.refuses_whole } else { habits.refuses_pieces.filter(|_| method == "PATCH") };
            if let Some(status) = refusal {
                return refused(status);
            }
            if method == "PATCH" {
                let from = request.header("content-range").split('-').next().unwrap().parse::<usize>();
                if from != Ok(upload.len()) {
                    state.uploads.insert(number, upload);
                    return answer(416);
                }
            }
            upload.extend_from_slice(&request.body);
            let is_torn = request.body.len() < announced;
            if method == "PUT" && !is_torn {
                return keep(state, &query["digest"], upload);
            }
            let end = upload.len().saturating_sub(1);
            if !(is_torn && habits.forgets) {
                state.uploads.insert(number, upload);
            }
            let status = if method == "GET" { 204 } else { 202 };
            answer(status)
                .with("location", format!("/v2/x/blobs/uploads/{number}?_state=a%2Fb"))
                .with("range", format!("0-{end}"))
        }
    }
}

fn keep(state: &mut State, digest: &str, bytes: Vec<u8>) -> Answer {
    let actual = Digest::of(&bytes);
    if actual.to_string() != digest {
        return answer(400).body(r#"{"errors":[{"code":"DIGEST_INVALID","message":"other bytes"}]}"#);
    }
    state.blobs.insert(actual, bytes);
    answer(201).with("docker-content-digest", actual)
}
