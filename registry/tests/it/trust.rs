//! Certificates: whose are trusted, and that nobody else's are.

use std::path::Path;

use shiplap_registry::auth::Credentials;
use shiplap_registry::{Client, ClientOptions, Error, Reference, Trouble};

use crate::fixture::home;
use crate::server::Server;

/// This machine's own name, if it leads to a loopback address without being one: what is called so is trusted no more than any other.
fn own_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    let mut addresses = std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), 0)).ok()?;
    let here = addresses.any(|a| a.ip().is_loopback()) && name != "localhost" && name == name.to_lowercase();
    if !here {
        eprintln!("skipped: this machine's name does not lead to a loopback address");
    }
    here.then_some(name)
}

fn tag(registry: &str) -> Reference {
    format!("{registry}/campus/x:t").parse().unwrap()
}

fn client(options: ClientOptions) -> Client {
    Client::new(ClientOptions { attempts: 1, ..options })
}

fn is_certificate(error: &Error) -> bool {
    matches!(error, Error::Remote(e) if matches!(e.trouble, Trouble::Certificate { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_on_this_machine_is_spoken_with_whatever_certificate() {
    let server = Server::with_tls("registry.example");
    let tag = tag(&format!("127.0.0.1:{}", server.port));
    let here = home();
    let (_, packed) = here.packed();
    let client = client(ClientOptions::default());
    client.push(&here.images, &packed.manifest.digest, &tag).await.unwrap();
    assert_eq!(client.resolve(&tag).await.unwrap(), Some(packed.manifest.digest));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_is_trusted_by_file_and_by_folder_and_a_registry_without_one_when_it_is_named() {
    let Some(name) = own_name() else { return };
    let server = Server::with_tls(&name);
    let registry = format!("{name}:{}", server.port);
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(&registry);
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(server.authority(), folder.join("ca.crt")).unwrap();
    let other = Server::with_tls(&name);
    let trusting = [
        ClientOptions { authorities: vec![server.authority()], ..ClientOptions::default() },
        ClientOptions { certificates: vec![dir.path().to_owned()], ..ClientOptions::default() },
        ClientOptions { insecure: vec![registry.clone()], ..ClientOptions::default() },
    ];
    for options in trusting {
        assert_eq!(client(options.clone()).resolve(&tag(&registry)).await.unwrap(), None);
        // The other registry's authority is another one, and its name was not given.
        let error = client(options).resolve(&tag(&format!("{name}:{}", other.port))).await.unwrap_err();
        assert!(is_certificate(&error), "{error}");
    }
    let error = client(ClientOptions::default()).resolve(&tag(&registry)).await.unwrap_err();
    assert!(is_certificate(&error), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_wants_certificate_and_password_opens_to_both() {
    let Some(name) = own_name() else { return };
    let server = Server::with_everything(&name, "campus", "s3cret");
    let registry = format!("{name}:{}", server.port);
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(&registry);
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(server.authority(), folder.join("ca.crt")).unwrap();
    let config = dir.path().join("config.json");
    // campus:s3cret
    let auths = serde_json::json!({"auths": {&registry: {"auth": "Y2FtcHVzOnMzY3JldA=="}}});
    std::fs::write(&config, auths.to_string()).unwrap();
    let client = |config: &Path| {
        let (credentials, certificates) = (Credentials::from_file(config), vec![dir.path().to_owned()]);
        client(ClientOptions { credentials, certificates, ..ClientOptions::default() })
    };
    assert!(client(&config).resolve(&tag(&registry)).await.is_err(), "without a certificate of ours");

    let (certificate, key) = server.client_certificate();
    std::fs::copy(certificate, folder.join("client.cert")).unwrap();
    std::fs::copy(key, folder.join("client.key")).unwrap();
    let error = client(&dir.path().join("none.json")).resolve(&tag(&registry)).await.unwrap_err();
    assert!(matches!(&error, Error::Remote(e) if matches!(e.trouble, Trouble::Refused { .. })), "{error}");

    let (here, there) = (home(), home());
    let (_, packed) = here.packed();
    client(&config).push(&here.images, &packed.manifest.digest, &tag(&registry)).await.unwrap();
    let platform = "linux/amd64".parse().unwrap();
    let pulled = client(&config).pull(&there.images, &tag(&registry), &platform).await.unwrap();
    assert_eq!(pulled.manifest, packed.manifest.digest);
}
