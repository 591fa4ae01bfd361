//! Asking a site whether it is well.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, Client, StatusCode};
use shiplap_manifests::config::{Config, Health, Instance};
use shiplap_manifests::health::{ExecProbe, HealthCheck, Probe};
use shiplap_manifests::release::Release;

use crate::failure::{Failure, Kind, Result};

/// How much of an answer is looked at.
const MOST: usize = 1 << 20;

/// What asks an instance's site.
pub struct Asking<'a> {
    health: &'a Health,
    probe: Box<dyn Probe + 'a>,
}

/// What asks, if the settings say so and nobody said not to.
pub fn probe<'a>(config: &'a Config, instance: &'a Instance, skip: bool) -> Result<Option<Asking<'a>>> {
    let Some(health) = instance.health.as_ref().filter(|_| !skip) else { return Ok(None) };
    let folder = config.folder();
    let probe: Box<dyn Probe> = match &health.http {
        Some(url) => Box::new(HttpProbe { url, health, client: client(health, folder)? }),
        None => Box::new(ExecProbe { health, folder }),
    };
    Ok(Some(Asking { health, probe }))
}

impl Asking<'_> {
    /// The check; `told` is told of each try that failed.
    pub fn check<'a>(&'a self, told: &'a dyn Fn(u32, &str)) -> HealthCheck<'a> {
        HealthCheck { health: self.health, probe: self.probe.as_ref(), told }
    }
}

fn client(health: &Health, folder: &Path) -> Result<Client> {
    shiplap_registry::install_tls();
    let mut client = Client::builder()
        .user_agent(concat!("shiplap/", env!("CARGO_PKG_VERSION")))
        .timeout(health.timeout())
        .connect_timeout(health.timeout().min(Duration::from_secs(15)))
        .tls_danger_accept_invalid_certs(health.insecure);
    if let Some(file) = &health.ca {
        client = client.tls_certs_merge(authorities(&folder.join(file))?);
    }
    client.build().map_err(|e| Failure::of(Kind::Failed, &e))
}

fn authorities(file: &PathBuf) -> Result<Vec<Certificate>> {
    let wrong = |why: String| Failure::new(Kind::Usage, format!("{} of `ca` cannot be used: {why}", file.display()));
    let bytes = std::fs::read(file).map_err(|e| wrong(e.to_string()))?;
    match Certificate::from_pem_bundle(&bytes) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(wrong("there is no certificate in it; PEM is expected".to_owned())),
        Err(e) => Err(wrong(e.to_string())),
    }
}

struct HttpProbe<'a> {
    url: &'a str,
    health: &'a Health,
    client: Client,
}

impl Probe for HttpProbe<'_> {
    fn probe(&self, _: &Release) -> std::result::Result<(), String> {
        // A deploy waits for its answer; the threads of the runtime go on.
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(self.ask()))
    }
}

impl HttpProbe<'_> {
    async fn ask(&self) -> std::result::Result<(), String> {
        let failed = |e: reqwest::Error| {
            // The address may have a secret in it, and the cause says what to do: a certificate, a refused connection.
            let e = e.without_url();
            let causes = std::iter::successors(Some(&e as &dyn std::error::Error), |e| e.source());
            let words: Vec<String> = causes.map(ToString::to_string).collect();
            let words: String = words.join(": ").chars().take(300).collect();
            format!("{} cannot be asked: {words}", self.url.split(['?', '#']).next().unwrap_or_default())
        };
        let mut answer = self.client.get(self.url).send().await.map_err(failed)?;
        let status = answer.status();
        let is_expected = match self.health.expect_status {
            Some(expected) => status.as_u16() == expected,
            None => status.is_success(),
        };
        if !is_expected {
            return Err(format!("it answers {}, and {} is expected", words(status), self.expected()));
        }
        let Some(text) = &self.health.expect_body else { return Ok(()) };
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > MOST {
                break;
            }
        }
        if String::from_utf8_lossy(&body).contains(text.as_str()) {
            Ok(())
        } else {
            Err(format!("it answers {} without the text of `expect-body`", words(status)))
        }
    }

    fn expected(&self) -> String {
        self.health.expect_status.map_or("200 to 299".to_owned(), |status| status.to_string())
    }
}

fn words(status: StatusCode) -> String {
    status.to_string()
}
