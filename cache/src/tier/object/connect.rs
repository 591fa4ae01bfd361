//! From an address to the object store that it names.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::{Host, Url};

use super::http::Connector;
use super::{ObjectOptions, fault};

/// An address at which no tier can be.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It is none of an object store.
    #[error(
        "`{url}` is no place for a cache: {why}; expected s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder"
    )]
    Url {
        /// The address, without a password.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A setting is not known for a store of this kind.
    #[error("`{key}` is no setting of {store}; docs/ci.md has those that are")]
    Setting {
        /// The setting.
        key: String,
        /// The kind of store.
        store: &'static str,
    },
    /// The settings do not fit together.
    #[error("the settings for {name} cannot be used: {why}")]
    Settings {
        /// The place.
        name: String,
        /// What is wrong with them.
        why: String,
    },
}

/// Where a tier is.
pub(super) struct Place {
    pub name: String,
    pub store: Arc<dyn ObjectStore>,
    pub prefix: Path,
}

const S3: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

const GOOGLE: &[&str] = &["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY"];

const AZURE: &[&str] = &[
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AZURE_AUTHORITY_HOST",
    "AZURE_FEDERATED_TOKEN_FILE",
];

pub(super) fn variables(url: &str) -> &'static [&'static str] {
    match Url::parse(url).ok().and_then(|url| ObjectStoreScheme::parse(&url).ok()) {
        Some((ObjectStoreScheme::AmazonS3, _)) => S3,
        Some((ObjectStoreScheme::GoogleCloudStorage, _)) => GOOGLE,
        Some((ObjectStoreScheme::MicrosoftAzure, _)) => AZURE,
        _ => &[],
    }
}

/// The three builders have the same functions and no trait for them. Gives the store, and what its name must say beyond the address: where the
/// store of that kind is, if not where its maker has it.
macro_rules! build {
    ($builder:ty, $key:ty, $store:literal, [$($where:ident),+], $url:expr, $name:expr, $settings:expr, $options:expr) => {{
        let mut known = Vec::new();
        for (key, value) in $settings {
            let unknown = |_| PlaceError::Setting { key: key.clone(), store: $store };
            known.push((key.parse::<$key>().map_err(unknown)?, value));
        }
        let is_here = known.iter().any(|(key, value)| matches!(key, $(<$key>::$where)|+) && is_loopback(value));
        let mut builder = <$builder>::new()
            .with_url($url.as_str())
            .with_client_options(client($options).with_allow_http(is_here))
            .with_retry(retry($options))
            .with_http_connector(Connector);
        for (key, value) in known {
            builder = builder.with_config(key, value);
        }
        let elsewhere = [$(builder.get_config_value(&<$key>::$where)),+].into_iter().flatten().next();
        let bad = |e: object_store::Error| PlaceError::Settings { name: $name.clone(), why: fault::words(&e) };
        let store: Arc<dyn ObjectStore> = Arc::new(builder.build().map_err(bad)?);
        (store, elsewhere)
    }};
}

pub(super) fn open(url: &str, settings: &[(String, String)], options: &ObjectOptions) -> Result<Place, PlaceError> {
    let bad = |url: &str, why: &dyn std::fmt::Display| PlaceError::Url { url: url.to_owned(), why: why.to_string() };
    // What cannot be read may have a password in it anywhere, and is not repeated.
    let url = Url::parse(url).map_err(|e| bad("…", &e))?;
    let name = bare(url.clone()).to_string().trim_end_matches('/').to_owned();
    if url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(bad(&name, &"credentials and settings do not belong into it"));
    }
    let (scheme, prefix) = ObjectStoreScheme::parse(&url).map_err(|e| bad(&name, &e))?;
    let (store, elsewhere) = match scheme {
        ObjectStoreScheme::Local => {
            let folder = url.to_file_path().map_err(|()| bad(&name, &"it is no folder"))?;
            if let Some((key, _)) = settings.first() {
                return Err(PlaceError::Setting { key: key.clone(), store: "a folder" });
            }
            let prefix = Path::from_absolute_path(folder).map_err(|e| bad(&name, &e))?;
            // What is acknowledged is on disk.
            let store = Arc::new(LocalFileSystem::new().with_fsync(true));
            return Ok(Place { name, store, prefix });
        }
        ObjectStoreScheme::AmazonS3 => {
            build!(AmazonS3Builder, AmazonS3ConfigKey, "S3", [S3Endpoint, Endpoint], url, name, settings, options)
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            build!(GoogleCloudStorageBuilder, GoogleConfigKey, "Google", [BaseUrl], url, name, settings, options)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            let keys = (settings, options);
            build!(MicrosoftAzureBuilder, AzureConfigKey, "Azure", [Endpoint, AccountName], url, name, keys.0, keys.1)
        }
        _ => return Err(bad(&name, &"it is not of S3, Google, Azure or a folder")),
    };
    let elsewhere = elsewhere.map(|text| Url::parse(&text).map_or(text, |url| bare(url).to_string()));
    let name = elsewhere.map_or(name.clone(), |elsewhere| format!("{name} ({})", elsewhere.trim_end_matches('/')));
    Ok(Place { name, store, prefix })
}

/// An address without what may be secret in it.
fn bare(mut url: Url) -> Url {
    // It cannot fail where there is a password.
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// Whether a store is on this machine, where nobody listens in.
fn is_loopback(endpoint: &str) -> bool {
    match Url::parse(endpoint).ok().as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn client(options: &ObjectOptions) -> ClientOptions {
    ClientOptions::new()
        .with_user_agent(object_store::HeaderValue::from_static(concat!("shiplap/", env!("CARGO_PKG_VERSION"))))
        .with_connect_timeout(options.patience.min(std::time::Duration::from_secs(15)))
        // How long a blob takes says nothing. `ObjectTier::within` sees to it that something moves.
        .with_timeout_disabled()
}

fn retry(options: &ObjectOptions) -> RetryConfig {
    let max_retries = options.attempts.saturating_sub(1) as usize;
    let backoff = BackoffConfig { init_backoff: options.backoff, max_backoff: options.backoff * 16, base: 2.0 };
    RetryConfig { backoff, max_retries, retry_timeout: options.patience }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_with(url: &str, settings: &[(&str, &str)]) -> Result<Place, PlaceError> {
        let settings: Vec<_> = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        open(url, &settings, &ObjectOptions::default())
    }

    fn name(url: &str, settings: &[(&str, &str)]) -> String {
        open_with(url, settings).unwrap_or_else(|e| panic!("{url}: {e}")).name
    }

    #[test]
    fn the_same_place_has_the_same_name_and_another_has_another() {
        let key = ("aws_secret_access_key", "s3cret");
        assert_eq!(name("s3://bucket/a/b/", &[]), "s3://bucket/a/b");
        assert_eq!(name("s3://bucket/a/b", &[("aws_access_key_id", "x"), key]), "s3://bucket/a/b");
        let minio = ("aws_endpoint_url", "http://user:s3cret@127.0.0.1:9000/");
        assert_eq!(name("s3://bucket", &[minio]), "s3://bucket (http://user@127.0.0.1:9000)");
        assert_eq!(name("gs://bucket/x", &[("google_skip_signature", "true")]), "gs://bucket/x");
        let account = [("azure_storage_account_name", "campus"), ("azure_storage_account_key", "c2VjcmV0")];
        assert_eq!(name("az://container/x", &account), "az://container/x (campus)");
        assert_eq!(name("file:///srv/cache", &[]), "file:///srv/cache");
    }

    #[test]
    fn what_is_no_place_and_no_setting_is_named_and_no_secret_is_repeated() {
        for (url, settings) in [
            ("s3://user:s3cret@bucket", vec![]),
            ("s3://bucket?key=s3cret", vec![]),
            ("s3 s3cret", vec![]),
            ("http://example.com/s3", vec![]),
            ("memory:///", vec![]),
            ("s3://bucket", vec![("aws_secret_acess_key", "s3cret")]),
            ("file:///srv", vec![("region", "s3cret")]),
        ] {
            let error = open_with(url, &settings).map(|place| place.name).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
        let error = open_with("s3://bucket", &[("regio", "x")]).map(|place| place.name).unwrap_err().to_string();
        assert!(error.contains("`regio`") && error.contains("S3"), "{error}");
    }

    #[test]
    fn each_variable_is_a_setting() {
        for (url, least) in [("s3://b", 10), ("gs://b", 3), ("az://c", 8), ("file:///x", 0), ("odd", 0)] {
            assert!(variables(url).len() >= least);
        }
        let known = |keys: &[&str], parse: fn(&str) -> bool| {
            for key in keys {
                assert!(parse(&key.to_ascii_lowercase()), "{key}");
            }
        };
        known(S3, |key| key.parse::<AmazonS3ConfigKey>().is_ok());
        known(GOOGLE, |key| key.parse::<GoogleConfigKey>().is_ok());
        known(AZURE, |key| key.parse::<AzureConfigKey>().is_ok());
    }

    #[test]
    fn only_a_store_on_this_machine_is_spoken_to_without_tls() {
        for (endpoint, here) in [
            ("http://127.0.0.1:9000", true),
            ("http://localhost", true),
            ("http://[::1]:1", true),
            ("http://localhost.example.com", false),
            ("http://10.0.0.1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(is_loopback(endpoint), here, "{endpoint}");
        }
    }
}
