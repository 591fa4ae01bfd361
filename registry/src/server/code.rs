//! The codes of errors that the distribution-spec names (*Error Codes*), and what is sent with them.

use axum::http::StatusCode;

/// A code of an error, as it stands in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// How it is written.
    pub name: &'static str,
    /// The status that goes with it, where nothing more exact is known.
    pub status: StatusCode,
}

const fn code(name: &'static str, status: StatusCode) -> Code {
    Code { name, status }
}

/// code-1: a blob is not in the repository.
pub const BLOB_UNKNOWN: Code = code("BLOB_UNKNOWN", StatusCode::NOT_FOUND);
/// code-2: an upload cannot go on as it was asked to.
pub const BLOB_UPLOAD_INVALID: Code = code("BLOB_UPLOAD_INVALID", StatusCode::BAD_REQUEST);
/// code-3: no such upload is open.
pub const BLOB_UPLOAD_UNKNOWN: Code = code("BLOB_UPLOAD_UNKNOWN", StatusCode::NOT_FOUND);
/// code-4: a digest is none, or is not that of the bytes.
pub const DIGEST_INVALID: Code = code("DIGEST_INVALID", StatusCode::BAD_REQUEST);
/// code-5: a manifest names a blob that is not in the repository.
pub const MANIFEST_BLOB_UNKNOWN: Code = code("MANIFEST_BLOB_UNKNOWN", StatusCode::BAD_REQUEST);
/// code-6: a manifest cannot be read, or is of a kind that is not kept.
pub const MANIFEST_INVALID: Code = code("MANIFEST_INVALID", StatusCode::BAD_REQUEST);
/// code-7: a manifest or tag is not in the repository.
pub const MANIFEST_UNKNOWN: Code = code("MANIFEST_UNKNOWN", StatusCode::NOT_FOUND);
/// code-8: the name is none of a repository.
pub const NAME_INVALID: Code = code("NAME_INVALID", StatusCode::BAD_REQUEST);
/// code-9: nothing was ever pushed to the repository.
pub const NAME_UNKNOWN: Code = code("NAME_UNKNOWN", StatusCode::NOT_FOUND);
/// code-10: more or fewer bytes than announced, or more than are taken.
pub const SIZE_INVALID: Code = code("SIZE_INVALID", StatusCode::BAD_REQUEST);
/// code-11: who asks must log in.
pub const UNAUTHORIZED: Code = code("UNAUTHORIZED", StatusCode::UNAUTHORIZED);
/// code-12: who asks may not do this, or nobody may.
pub const DENIED: Code = code("DENIED", StatusCode::FORBIDDEN);
/// code-13: this registry does not do that.
pub const UNSUPPORTED: Code = code("UNSUPPORTED", StatusCode::METHOD_NOT_ALLOWED);
/// code-14: too much at once.
pub const TOOMANYREQUESTS: Code = code("TOOMANYREQUESTS", StatusCode::TOO_MANY_REQUESTS);
/// Anything else. Not in the table, but named by distribution's own servers.
pub const UNKNOWN: Code = code("UNKNOWN", StatusCode::INTERNAL_SERVER_ERROR);
