//! What the path of a request asks for (distribution-spec, *Endpoints*).
//!
//! Names have slashes in them, so a path is read from its end. Who decides whether a request is allowed reads it here too: two
//! readers of one path would some day see two repositories.

use percent_encoding::percent_decode_str;
use shiplap_cache::Digest;

use super::code;
use super::fault::Fault;
use super::name::{Name, NameError, Tag, UploadId, shortened};

/// What a path below `/v2/` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`: does somebody answer, and may I come in.
    Base,
    /// `/v2/_catalog`: all repositories.
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(Name),
    /// `/v2/<name>/manifests/<reference>`
    Manifest(Name, Target),
    /// `/v2/<name>/blobs/<digest>`
    Blob(Name, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(Name),
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload(Name, UploadId),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(Name, Digest),
}

/// Which manifest is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The one that a tag stands for.
    Tag(Tag),
    /// The one with this digest.
    Digest(Digest),
}

/// Why a path stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No endpoint has such a path.
    #[error("`{0}` is no endpoint of a registry: see the distribution-spec, Endpoints")]
    NoEndpoint(String),
    /// A repository, tag or upload is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A digest is none, or of an algorithm that is not kept.
    #[error("`{0}` is not a digest that this registry keeps: `sha256:` and 64 lower-case hexadecimal characters")]
    Digest(String),
}

impl Route {
    /// Reads the path of a request, percent signs and all.
    ///
    /// # Errors
    /// [`RouteError`] says what is wrong.
    pub fn parse(path: &str) -> Result<Self, RouteError> {
        let nothing = || RouteError::NoEndpoint(shortened(path));
        let decoded = percent_decode_str(path).decode_utf8().map_err(|_| nothing())?;
        let rest = match &*decoded {
            "/v2" | "/v2/" => return Ok(Self::Base),
            path => path.strip_prefix("/v2/").ok_or_else(nothing)?,
        };
        if rest == "_catalog" {
            return Ok(Self::Catalog);
        }
        // The longest endings first: an upload's path ends as a blob's does.
        if let Some(name) = rest.strip_suffix("/blobs/uploads/").or(rest.strip_suffix("/blobs/uploads")) {
            return Ok(Self::Uploads(name.parse()?));
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Ok(Self::Tags(name.parse()?));
        }
        let (before, last) = rest.rsplit_once('/').ok_or_else(nothing)?;
        if let Some(name) = before.strip_suffix("/blobs/uploads") {
            return Ok(Self::Upload(name.parse()?, last.parse()?));
        }
        if let Some(name) = before.strip_suffix("/blobs") {
            return Ok(Self::Blob(name.parse()?, digest(last)?));
        }
        if let Some(name) = before.strip_suffix("/referrers") {
            return Ok(Self::Referrers(name.parse()?, digest(last)?));
        }
        if let Some(name) = before.strip_suffix("/manifests") {
            let target = if last.contains(':') { Target::Digest(digest(last)?) } else { Target::Tag(last.parse()?) };
            return Ok(Self::Manifest(name.parse()?, target));
        }
        Err(nothing())
    }

    /// The repository that is asked, none for what belongs to no repository.
    pub fn name(&self) -> Option<&Name> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Tags(name)
            | Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::Referrers(name, _) => Some(name),
        }
    }
}

/// A digest that this registry keeps.
pub(super) fn digest(text: &str) -> Result<Digest, RouteError> {
    text.parse().map_err(|_| RouteError::Digest(shortened(text)))
}

impl From<RouteError> for Fault {
    fn from(error: RouteError) -> Self {
        let code = match &error {
            RouteError::NoEndpoint(_) => code::Code { status: axum::http::StatusCode::NOT_FOUND, ..code::UNSUPPORTED },
            RouteError::Digest(_) => code::DIGEST_INVALID,
            RouteError::Name(NameError::Repository(_)) => code::NAME_INVALID,
            // There is nothing under such a tag, and never will be.
            RouteError::Name(NameError::Tag(_)) => code::MANIFEST_UNKNOWN,
            RouteError::Name(NameError::Upload(_)) => code::BLOB_UPLOAD_UNKNOWN,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn every_endpoint_is_found_whatever_the_repository_is_called() {
        let digest = Digest::of(b"x");
        let id = UploadId::new([1; 16]);
        let tag = |text: &str| Target::Tag(text.parse().unwrap());
        for repository in ["a", "campus/openedx", "blobs/uploads", "tags/list", "a/manifests", "v2/a/referrers", "v2"] {
            let at = |rest: &str| Route::parse(&format!("/v2/{repository}/{rest}")).unwrap();
            let name = name(repository);
            assert_eq!(at("tags/list"), Route::Tags(name.clone()));
            assert_eq!(at("manifests/latest"), Route::Manifest(name.clone(), tag("latest")));
            assert_eq!(at("manifests/list"), Route::Manifest(name.clone(), tag("list")));
            assert_eq!(at(&format!("manifests/{digest}")), Route::Manifest(name.clone(), Target::Digest(digest)));
            assert_eq!(at(&format!("blobs/{digest}")), Route::Blob(name.clone(), digest));
            assert_eq!(at(&format!("blobs/sha256%3A{}", digest.hex())), Route::Blob(name.clone(), digest));
            assert_eq!(at("blobs/uploads/"), Route::Uploads(name.clone()));
            assert_eq!(at("blobs/uploads"), Route::Uploads(name.clone()));
            assert_eq!(at(&format!("blobs/uploads/{id}")), Route::Upload(name.clone(), id));
            assert_eq!(at(&format!("referrers/{digest}")), Route::Referrers(name, digest));
        }
        assert_eq!(Route::parse("/v2/").unwrap(), Route::Base);
        assert_eq!(Route::parse("/v2").unwrap(), Route::Base);
        assert_eq!(Route::parse("/v2/_catalog").unwrap(), Route::Catalog);
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        let hex = Digest::of(b"x").hex();
        let bad = [
            "/",
            "/v1/",
            "/v2/a",
            "/v2//tags/list",
            "/v2/a/tags",
            "/v2/../tags/list",
            "/v2/a/%2e%2e/tags/list",
            "/v2/A/tags/list",
            "/v2/a/blobs/sha256:..",
            "/v2/a/blobs/..%2f..%2fetc%2fpasswd",
            "/v2/a/manifests/..",
            "/v2/a/manifests/",
            "/v2/a/blobs/",
            "/v2/a/blobs/uploads/..",
            "/v2/a/%ff/tags/list",
            "/v2/a/b%00/tags/list",
        ];
        for bad in bad.into_iter().map(str::to_owned).chain([
            format!("/v2/a/blobs/sha512:{hex}{hex}"),
            format!("/v2/a/blobs/sha256:{}", hex.to_uppercase()),
            format!("/v2/a/referrers/{hex}"),
        ]) {
            assert!(Route::parse(&bad).is_err(), "{bad}");
        }
    }
}
