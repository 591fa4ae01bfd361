//! The bill of materials of an image, in CycloneDX 1.5 (<https://cyclonedx.org/docs/1.5/json/>).
//!
//! It says what [`contents`](crate::contents) found and nothing else: the same image makes the same bytes, so there is no serial number and
//! no time but the image's own.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::contents::{Contents, Package, Source, System};
use cyclonedx_bom::external_models::date_time::DateTime;
use cyclonedx_bom::external_models::spdx::{SpdxExpression, SpdxIdentifier};
use cyclonedx_bom::models::bom::SpecVersion;
use cyclonedx_bom::models::component::{Classification, Component, Components};
use cyclonedx_bom::models::license::{License, LicenseChoice, Licenses};
use cyclonedx_bom::models::metadata::Metadata;
use cyclonedx_bom::models::property::{Properties, Property};
use cyclonedx_bom::models::tool::{Tool, Tools};
use cyclonedx_bom::prelude::{Bom, NormalizedString, Purl, Validate};

/// The media type of the document, and its artifact type.
pub const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json";

/// Which image the document is of.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its repository, without a tag: the same image under another tag has the same document.
    pub name: &'a str,
    /// What names it and no other: the digest of its manifest, or the store's own id where it was never packed.
    pub digest: &'a str,
    /// When it was made, as its configuration says (RFC 3339).
    pub created: Option<&'a str>,
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum SbomError {
    /// What was found does not fit the specification.
    #[error("the bill of materials would not be valid CycloneDX: {0}")]
    Invalid(String),
    /// The library does not write it.
    #[error("the bill of materials cannot be written: {0}")]
    Write(#[from] cyclonedx_bom::errors::JsonWriteError),
}

/// The document of an image, as JSON.
///
/// # Errors
/// What was found does not fit CycloneDX.
pub fn cyclonedx(subject: &Subject<'_>, contents: &Contents) -> Result<Vec<u8>, SbomError> {
    let bom = Bom {
        version: 1,
        serial_number: None,
        metadata: Some(metadata(subject)),
        components: Some(Components(components(contents))),
        services: None,
        external_references: None,
        dependencies: None,
        compositions: None,
        properties: None,
        vulnerabilities: None,
        signature: None,
        annotations: None,
        formulation: None,
        spec_version: SpecVersion::V1_5,
    };
    let checked = bom.validate_version(SpecVersion::V1_5);
    if checked.has_errors() {
        return Err(SbomError::Invalid(format!("{:?}", checked.errors().collect::<Vec<_>>())));
    }
    let mut bytes = Vec::new();
    bom.output_as_json(&mut bytes, SpecVersion::V1_5)?;
    Ok(bytes)
}

fn metadata(subject: &Subject<'_>) -> Metadata {
    let tool = Tool { version: Some(text(env!("CARGO_PKG_VERSION"))), ..Tool::new("Shiplap", "shiplap", "") };
    Metadata {
        timestamp: subject.created.and_then(|time| DateTime::try_from(time.to_owned()).ok()),
        tools: Some(Tools::List(vec![tool])),
        component: Some(Component::new(
            Classification::Container,
            subject.name,
            subject.digest,
            Some(subject.digest.to_owned()),
        )),
        ..Metadata::default()
    }
}

fn components(contents: &Contents) -> Vec<Component> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for package in &contents.packages {
        *count.entry(&package.purl).or_default() += 1;
    }
    let system = contents.system.iter().map(system);
    // A package may be there several times, in several places; a reference names one of them.
    let several = |package: &Package| count.get(package.purl.as_str()).is_some_and(|count| *count > 1);
    system.chain(contents.packages.iter().map(|package| component(package, several(package)))).collect()
}

fn system(system: &System) -> Component {
    let version = system.version.as_deref().unwrap_or_default();
    let mut component = Component::new(Classification::OperatingSystem, &system.id, version, Some(system.id.clone()));
    component.version = system.version.as_deref().map(text);
    component.description = system.name.as_deref().map(text);
    component
}

fn component(package: &Package, several: bool) -> Component {
    let reference = if several { format!("{}#{}", package.purl, package.path) } else { package.purl.clone() };
    let mut component = Component::new(Classification::Library, &package.name, &package.version, Some(reference));
    component.purl = Purl::from_str(&package.purl).ok();
    component.licenses = licences(&package.licences);
    let source = package.source.as_ref().map(|source| match source {
        Source::Git { url, commit } => format!("git+{url}@{commit}"),
        Source::Url { url } => url.clone(),
        Source::Local { .. } => "local".to_owned(),
        Source::Package { name, version } => format!("{name} {version}"),
    });
    let properties = [
        ("shiplap:manager", Some(package.manager.to_string())),
        ("shiplap:record", Some(package.path.clone())),
        ("shiplap:source", source),
    ];
    let properties = properties.into_iter().filter_map(|(name, value)| Some(Property::new(name, &value?)));
    component.properties = Some(Properties(properties.collect()));
    component
}

/// SPDX identifiers as such, one expression as such, everything else by its name.
fn licences(names: &[String]) -> Option<Licenses> {
    let choice = |name: &String| match SpdxIdentifier::try_from(name.clone()) {
        Ok(_) => LicenseChoice::License(License::license_id(name)),
        Err(_) => LicenseChoice::License(License::named_license(name)),
    };
    let all = match names {
        [] => return None,
        [one] if one.contains(' ') && SpdxExpression::try_from(one.clone()).is_ok() => {
            vec![LicenseChoice::Expression(SpdxExpression::new(one))]
        }
        several => several.iter().map(choice).collect(),
    };
    Some(Licenses(all))
}

/// Text in one line.
fn text(text: &str) -> NormalizedString {
    NormalizedString::new(text)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use shiplap_cache::Digest;

    use super::*;
    use crate::contents::Manager;

    fn package(name: &str, path: &str, licences: &[&str]) -> Package {
        Package {
            manager: Manager::Npm,
            name: name.to_owned(),
            version: "1.0".to_owned(),
            path: path.to_owned(),
            licences: licences.iter().map(|&name| name.to_owned()).collect(),
            purl: format!("pkg:npm/{name}@1.0"),
            source: None,
        }
    }

    fn document(packages: Vec<Package>) -> Value {
        let system = Some(System { id: "debian".into(), version: Some("12".into()), name: Some("Debian 12".into()) });
        let contents = Contents { system, packages, not_read: Vec::new() };
        let digest = Digest::of(b"image").to_string();
        let subject = Subject { name: "campus/openedx", digest: &digest, created: Some("2026-11-21T10:00:00Z") };
        let bytes = cyclonedx(&subject, &contents).unwrap();
        assert_eq!(bytes, cyclonedx(&subject, &contents).unwrap(), "the same image makes the same bytes");
        // What was written is read, and checked, by the library.
        let read = Bom::parse_from_json(&bytes[..]).unwrap();
        assert!(read.validate_version(SpecVersion::V1_5).passed());
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn the_document_names_the_image_and_has_no_serial_number() {
        let document = document(vec![package("react", "/a", &["MIT"])]);
        assert_eq!((&document["bomFormat"], &document["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
        let image = &document["metadata"]["component"];
        assert_eq!((&image["type"], &image["name"]), (&"container".into(), &"campus/openedx".into()));
        assert_eq!(image["version"], Digest::of(b"image").to_string());
        assert_eq!(document["metadata"]["timestamp"], "2026-11-21T10:00:00Z");
        assert!(document.get("serialNumber").is_none());
        assert_eq!(document["components"][0]["type"], "operating-system");
        assert_eq!(document["components"][1]["purl"], "pkg:npm/react@1.0");
        assert_eq!(document["components"][1]["licenses"][0]["license"]["id"], "MIT");
    }

    #[test]
    fn the_same_package_in_two_places_has_two_references() {
        let document = document(vec![package("a", "/x", &[]), package("a", "/y", &[]), package("b", "/z", &[])]);
        let references: Vec<&str> =
            document["components"].as_array().unwrap()[1..].iter().map(|c| c["bom-ref"].as_str().unwrap()).collect();
        assert_eq!(references, ["pkg:npm/a@1.0#/x", "pkg:npm/a@1.0#/y", "pkg:npm/b@1.0"]);
    }

    #[test]
    fn licences_are_identifiers_expressions_or_names() {
        let odd = "BSD\tlike";
        let packages = vec![
            package("a", "/a", &["MIT OR Apache-2.0"]),
            package("b", "/b", &["Apache Software License"]),
            package("c", "/c", &["MIT", "GPL-2+"]),
            package("d", "/d", &[odd]),
        ];
        let document = document(packages);
        let of = |n: usize| &document["components"][n]["licenses"];
        assert_eq!(of(1)[0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(of(2)[0]["license"]["name"], "Apache Software License");
        assert_eq!((&of(3)[0]["license"]["id"], &of(3)[1]["license"]["name"]), (&"MIT".into(), &"GPL-2+".into()));
        assert_eq!(of(4)[0]["license"]["name"], "BSD like");
    }
}
