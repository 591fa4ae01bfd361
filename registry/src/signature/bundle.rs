//! Sigstore bundles, version 0.3, with a DSSE envelope around an in-toto statement
//! (sigstore, `protobuf-specs/protos/sigstore_bundle.proto`; <https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use shiplap_cache::Digest;

use super::{KeyError, PrivateKey, PublicKey};
use crate::referrers::Artifact;

/// The media type.
pub(super) const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const STATEMENT: &str = "application/vnd.in-toto+json";
/// What cosign 3 says with a signature of an image; other predicates of the same form are attestations, and no signatures.
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// A bundle that signs an image.
pub(super) fn make(image: &Digest, key: &PrivateKey) -> Result<Artifact, KeyError> {
    let statement = crate::image::canonical(json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": image.hex()}}],
        "predicateType": SIGN,
        "predicate": {},
    }));
    let signature = key.sign(&encoded(STATEMENT, &statement))?;
    let bytes = crate::image::canonical(json!({
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key.public().hint()}},
        "dsseEnvelope": {
            "payload": STANDARD.encode(statement),
            "payloadType": STATEMENT,
            "signatures": [{"sig": STANDARD.encode(signature)}],
        },
    }));
    let title = format!("sha256-{}.sigstore.json", Digest::of(&bytes).hex());
    let created = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let note = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    Ok(Artifact {
        artifact_type: MEDIA_TYPE.to_owned(),
        bytes,
        annotations: [
            note("dev.sigstore.bundle.content", "dsse-envelope"),
            note("dev.sigstore.bundle.predicateType", SIGN),
            note("org.opencontainers.image.created", &created.to_string()),
        ]
        .into(),
        blob_annotations: [note("org.opencontainers.image.title", &title)].into(),
    })
}

/// DSSE's pre-authentication encoding: what is really signed.
fn encoded(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    dsse_envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: serde_json::Map<String, Value>,
}

/// Whether a bundle is a signature of this image by this key; why not.
pub(super) fn check(bytes: &[u8], image: &Digest, key: &PublicKey) -> Result<(), String> {
    let bundle: Bundle = serde_json::from_slice(bytes).map_err(|e| format!("a bundle cannot be read: {e}"))?;
    let envelope = bundle.dsse_envelope.ok_or("a bundle has no DSSE envelope")?;
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| "a bundle has a part that is no base64");
    let payload = decode(&envelope.payload)?;
    let signed = encoded(&envelope.payload_type, &payload);
    let good = |signature: &Signature| decode(&signature.sig).is_ok_and(|sig| key.verifies(&signed, &sig));
    if !envelope.signatures.iter().any(good) {
        return Err("a bundle is by another key, or what it signs was changed".to_owned());
    }
    if envelope.payload_type != STATEMENT {
        return Err(format!("a bundle is of a `{}` and of no statement", envelope.payload_type));
    }
    let statement: Statement =
        serde_json::from_slice(&payload).map_err(|e| format!("the statement of a bundle cannot be read: {e}"))?;
    if statement.predicate_type != SIGN {
        return Err(format!("a bundle says `{}`, which is no signature of an image", statement.predicate_type));
    }
    let hex = Value::from(image.hex());
    match statement.subject.iter().any(|subject| subject.digest.get("sha256") == Some(&hex)) {
        true => Ok(()),
        false => Err("a bundle is of another image".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_has_the_form_of_dsse() {
        // Of DSSE's protocol.md, *Test vectors*.
        assert_eq!(
            encoded("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn a_bundle_is_good_for_its_image_and_its_key_alone() {
        let (key, image) = (PrivateKey::generate().unwrap(), Digest::of(b"image"));
        let bytes = make(&image, &key).unwrap().bytes;
        check(&bytes, &image, &key.public()).unwrap();
        assert!(check(&bytes, &Digest::of(b"other"), &key.public()).unwrap_err().contains("another image"));
        let other = PrivateKey::generate().unwrap().public();
        assert!(check(&bytes, &image, &other).unwrap_err().contains("another key"));
        assert!(check(b"{}", &image, &other).unwrap_err().contains("no DSSE envelope"));
    }

    #[test]
    fn a_changed_statement_type_or_signature_is_found() {
        let (key, image) = (PrivateKey::generate().unwrap(), Digest::of(b"image"));
        let bundle: Value = serde_json::from_slice(&make(&image, &key).unwrap().bytes).unwrap();
        let changed = |pointer: &str, to: &str| {
            let mut bundle = bundle.clone();
            *bundle.pointer_mut(pointer).unwrap() = to.into();
            check(&serde_json::to_vec(&bundle).unwrap(), &image, &key.public()).unwrap_err()
        };
        let other = make(&Digest::of(b"other"), &key).unwrap().bytes;
        let other: Value = serde_json::from_slice(&other).unwrap();
        let payload = other["dsseEnvelope"]["payload"].as_str().unwrap();
        let signature = other["dsseEnvelope"]["signatures"][0]["sig"].as_str().unwrap();
        assert!(changed("/dsseEnvelope/payload", payload).contains("was changed"));
        assert!(changed("/dsseEnvelope/payloadType", "text/plain").contains("was changed"));
        assert!(changed("/dsseEnvelope/signatures/0/sig", signature).contains("was changed"));
        assert!(changed("/dsseEnvelope/payload", "%").contains("base64"));
    }

    #[test]
    fn an_attestation_by_the_same_key_is_no_signature() {
        let (key, image) = (PrivateKey::generate().unwrap(), Digest::of(b"image"));
        let statement = format!(
            r#"{{"predicateType":"https://slsa.dev/provenance/v1","subject":[{{"digest":{{"sha256":"{}"}}}}]}}"#,
            image.hex()
        );
        let signature = STANDARD.encode(key.sign(&encoded(STATEMENT, statement.as_bytes())).unwrap());
        let bundle = json!({"dsseEnvelope": {"payload": STANDARD.encode(statement), "payloadType": STATEMENT,
            "signatures": [{"sig": signature}]}});
        let why = check(&serde_json::to_vec(&bundle).unwrap(), &image, &key.public()).unwrap_err();
        assert!(why.contains("no signature of an image"), "{why}");
    }
}
