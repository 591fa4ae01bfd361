//! An answer that says what is wrong (distribution-spec, *Error Codes*).

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::code::{self, Code};

/// One or more errors, with the status and the headers that they are sent with.
#[derive(Debug, Clone)]
pub struct Fault {
    status: StatusCode,
    headers: HeaderMap,
    errors: Vec<Value>,
}

impl Fault {
    /// An error. The message is for people and says what to do.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let errors = vec![json!({ "code": code.name, "message": message.into() })];
        Self { status: code.status, headers: HeaderMap::new(), errors }
    }

    /// The same with another status.
    #[must_use]
    pub fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The same with a header. A value that cannot be one is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.headers.insert(name, value);
        }
        self
    }

    /// The same with something for programs to read.
    #[must_use]
    pub fn detail(mut self, detail: Value) -> Self {
        if let Some(last) = self.errors.last_mut() {
            last["detail"] = detail;
        }
        self
    }

    /// Both, with the status of the first.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.errors.extend(other.errors);
        self
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        (self.status, self.headers, Json(json!({ "errors": self.errors }))).into_response()
    }
}

impl Fault {
    /// The disk failed. What it says names folders of this machine: that goes to the log, and the client learns that it is not its fault.
    pub(super) fn storage(error: &std::io::Error) -> Self {
        tracing::error!(%error, "the disk failed");
        if is_full(error) {
            Self::new(code::UNKNOWN, "the registry's disk is full: make room there, and push again")
                .status(StatusCode::INSUFFICIENT_STORAGE)
        } else {
            Self::store()
        }
    }

    fn store() -> Self {
        Self::new(code::UNKNOWN, "the registry's store failed: its log says how")
    }
}

impl From<shiplap_cache::Error> for Fault {
    fn from(error: shiplap_cache::Error) -> Self {
        tracing::error!(%error, "the store failed");
        match &error {
            shiplap_cache::Error::Io { source, .. } => Self::storage(source),
            _ => Self::store(),
        }
    }
}

impl From<crate::Error> for Fault {
    fn from(error: crate::Error) -> Self {
        match error {
            crate::Error::Store(error) => error.into(),
            error => {
                tracing::error!(%error, "the store failed");
                Self::store()
            }
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
