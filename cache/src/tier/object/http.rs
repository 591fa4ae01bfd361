//! What we do to HTTP beyond what the crate `object_store` does: heed `Retry-After`, and know a full store when we see one.

use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};

use crate::install_tls;

/// A store that wants to be left alone for longer than this is asked again anyway: a build waits.
const LONGEST: Duration = Duration::from_secs(10);

/// No answer that says no is longer.
const MOST: usize = 16 << 10;

/// An answer that says no. The crate tells these apart for some requests and not for others, such as lists.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The store takes nothing more.
    #[error("{0}")]
    Full(String),
    /// Not from us.
    #[error("{0}")]
    Denied(String),
    /// There is no such bucket.
    #[error("{0}")]
    Nowhere(String),
}

/// Makes our clients.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        install_tls();
        Ok(HttpClient::new(Client(ReqwestConnector::default().connect(options)?)))
    }
}

#[derive(Debug)]
struct Client(HttpClient);

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.0.execute(request).await?;
        match answer.status().as_u16() {
            429 | 503 => {
                // The crate has pauses of its own after this one. That the store does not say, or says a date, is usual.
                let asked =
                    answer.headers().get("retry-after").and_then(|wait| wait.to_str().ok()?.trim().parse().ok());
                tokio::time::sleep(asked.map_or(Duration::ZERO, Duration::from_secs).min(LONGEST)).await;
                Ok(answer)
            }
            404 => {
                let (head, body) = answer.into_parts();
                let text = beginning(body).await;
                match ["NoSuchBucket", "ContainerNotFound"].iter().any(|code| text.contains(code)) {
                    true => Err(HttpError::new(HttpErrorKind::Unknown, Refusal::Nowhere(text))),
                    false => Ok(HttpResponse::from_parts(head, HttpResponseBody::from(text))),
                }
            }
            // RFC 4918, 11.5; MinIO says `XMinioStorageFull`. 403 with `QuotaExceeded` is Ceph's.
            401 | 403 | 507 => {
                let status = answer.status();
                let text = format!("{status}: {}", beginning(answer.into_body()).await);
                let is_full = status == 507 || text.contains("QuotaExceeded");
                let refusal = if is_full { Refusal::Full(text) } else { Refusal::Denied(text) };
                Err(HttpError::new(HttpErrorKind::Unknown, refusal))
            }
            _ => Ok(answer),
        }
    }
}

/// The beginning of what an answer says.
async fn beginning(body: HttpResponseBody) -> String {
    let mut bytes = Vec::new();
    let mut stream = body.bytes_stream();
    while let Some(Ok(chunk)) = stream.next().await {
        bytes.extend_from_slice(&chunk[..chunk.len().min(MOST - bytes.len())]);
        if bytes.len() == MOST {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
