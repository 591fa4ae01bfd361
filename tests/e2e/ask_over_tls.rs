//! `[instance.NAME.health]` with an address that begins with `https`: a certificate that is not trusted is no answer.

use crate::campus::Campus;
use crate::common::{Home, Ran};
use crate::serve_a_registry::certificate;
use crate::serving::Serving;

/// A site of two releases that runs the first, and a server with a certificate of an authority that nobody knows.
fn site() -> (Campus, Home, Serving) {
    let server = Home::new();
    certificate(&server.work(), "campus.test");
    let files = ["tls.pem", "tls.key"].map(|file| server.work().join(file).to_str().unwrap().to_owned());
    let serving = Serving::start(&server, &["--tls-cert", &files[0], "--tls-key", &files[1]]);
    let campus = Campus::with_two_releases();
    campus.run(&["deploy", "campus", "1.0.0"]).ok();
    (campus, server, serving)
}

/// Deploys 1.1.0 with these settings of the health check.
fn deploy(campus: &Campus, serving: &Serving, settings: &str) -> Ran {
    let toml = std::fs::read_to_string(campus.home.work().join("shiplap.toml")).unwrap();
    let before = toml.split("\n[instance.campus.health]").next().unwrap();
    let health =
        format!("http = \"https://{}/healthz\"\ninterval = \"0s\"\nretries = 2\n{settings}", serving.address());
    campus.home.write("shiplap.toml", format!("{before}\n[instance.campus.health]\n{health}\n"));
    campus.run(&["deploy", "campus", "1.1.0"])
}

#[test]
fn an_authority_of_ones_own_is_trusted_where_it_is_named() {
    let (campus, server, serving) = site();
    let refused = deploy(&campus, &serving, "").ends_with(7).says("asked 2 times").says("back at 1.0.0");
    assert!(refused.err.to_lowercase().contains("certificate"), "{}", refused.err);
    assert_eq!(campus.deployed(), ["1.0.0"]);

    // The authority of somebody else does not help.
    certificate(&server.path("other"), "campus.test");
    for (from, to) in [(server.path("other/ca.crt"), "other.crt"), (server.work().join("ca.crt"), "ca.crt")] {
        std::fs::copy(from, campus.home.work().join(to)).unwrap();
    }
    deploy(&campus, &serving, "ca = \"other.crt\"").ends_with(7).says("back at 1.0.0");
    deploy(&campus, &serving, "ca = \"ca.crt\"").ok();
    assert_eq!(campus.deployed(), ["1.1.0"]);
}

#[test]
fn any_certificate_is_taken_where_that_is_said() {
    let (campus, _server, serving) = site();
    deploy(&campus, &serving, "insecure = true").ok();
    assert_eq!(campus.deployed(), ["1.1.0"]);
    // It is still the site's answer that counts.
    campus.run(&["deploy", "campus", "1.0.0", "--no-health"]).ok();
    deploy(&campus, &serving, "insecure = true\nexpect-status = 418").ends_with(7).says("200 OK, and 418 is expected");
    assert_eq!(campus.deployed(), ["1.0.0"]);
}

#[test]
fn a_file_of_authorities_that_is_none_is_told_before_anything_is_deployed() {
    let (campus, _server, serving) = site();
    let before = campus.run(&["--json", "log"]).ok().out;
    deploy(&campus, &serving, "ca = \"nowhere.crt\"").ends_with(2).says("nowhere.crt");
    campus.home.write("empty.crt", "nothing\n");
    deploy(&campus, &serving, "ca = \"empty.crt\"").ends_with(2).says("no certificate in it");
    assert_eq!(campus.run(&["--json", "log"]).ok().out, before);
    assert_eq!(campus.deployed(), ["1.0.0"]);
}
