//! One `--output`, as buildx reads it (`util/buildflags/export.go`, `build/opt.go`). What BuildKit would pass over in silence is an
//! error here: an attribute that has no effect is one that somebody counts on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::commands::build::annotations::Annotation;
use crate::commands::build::fields::{fields, words};
use crate::commands::build::packing::CompressionKind;
use crate::commands::export::Format;
use crate::failure::{Failure, Kind, Result};

const TYPES: &str = "type=local|tar|oci|docker|image|registry|cacheonly, or a folder";

/// One `--output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub to: To,
    /// Names for the image, where no `--tag` gives one.
    pub names: Vec<String>,
    pub compression: Option<CompressionKind>,
    pub force_compression: bool,
    pub annotations: Vec<Annotation>,
}

/// Where an image goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// It stays where it is, in the store, and has names there.
    Store,
    /// Into the container engine, under its names.
    Engine,
    /// It stays in the store, for later builds.
    Cache,
    /// To the registries of its names, or there by its digest alone.
    Registry { by_digest: bool },
    /// Its files, into a folder.
    Files(PathBuf),
    /// Into a file, or a folder with an OCI layout.
    File(Format, PathBuf),
}

impl Output {
    /// Without any attributes.
    pub fn plain(to: To) -> Self {
        Self { to, names: Vec::new(), compression: None, force_compression: false, annotations: Vec::new() }
    }

    /// Reads one. `epoch` says whether there is a time that none is to be later than.
    pub fn parse(text: &str, epoch: bool) -> Result<Self> {
        match words("--output", text)?.as_slice() {
            [one] if one == "-" => return Ok(Self::plain(To::File(Format::Rootfs, "-".into()))),
            // A comma in quotes is no part of a short form.
            [one] if one == text && !text.starts_with("type=") => return Ok(Self::plain(To::Files(text.into()))),
            _ => {}
        }
        let mut attributes = Attributes { text, epoch, left: fields("--output", text)?.into_iter().collect() };
        let kind = attributes.take("type").ok_or_else(|| attributes.wrong("the type is missing", TYPES))?;
        let output = match kind.as_str() {
            "local" => attributes.files()?,
            "tar" => Self::plain(To::File(Format::Rootfs, attributes.file()?.unwrap_or_else(|| "-".into()))),
            "oci" => attributes.oci()?,
            "docker" => attributes.docker()?,
            "image" => attributes.image(false)?,
            "registry" => attributes.image(true)?,
            "cacheonly" => Self::plain(To::Cache),
            _ => return Err(attributes.wrong(&format!("there is no type `{kind}`"), TYPES)),
        };
        attributes.end(&kind)?;
        Ok(output)
    }

    /// Whether this makes a manifest.
    pub fn packs(&self) -> bool {
        match &self.to {
            To::Store | To::Engine | To::Cache | To::Files(_) | To::File(Format::Rootfs, _) => false,
            To::Registry { .. } | To::File(..) => true,
        }
    }

    /// Whether this goes to standard output.
    pub fn is_stdout(&self) -> bool {
        matches!(&self.to, To::File(_, dest) if dest.as_os_str() == "-")
    }
}

/// What is left of the fields of an output.
struct Attributes<'a> {
    text: &'a str,
    epoch: bool,
    left: BTreeMap<String, String>,
}

impl Attributes<'_> {
    fn wrong(&self, what: &str, expected: &str) -> Failure {
        Failure::new(Kind::Usage, format!("--output {}: {what}", self.text)).hint(format!("expected {expected}"))
    }

    fn take(&mut self, key: &str) -> Option<String> {
        self.left.remove(key)
    }

    fn switch(&mut self, key: &str) -> Result<Option<bool>> {
        let Some(text) = self.take(key) else { return Ok(None) };
        let value = crate::cli::go_bool(&text).map_err(|_| self.wrong(&format!("{key}={text}"), "true or false"))?;
        Ok(Some(value))
    }

    /// A switch that stands one way here.
    fn only(&mut self, key: &str, way: bool, why: &str) -> Result<()> {
        match self.switch(key)? {
            Some(other) if other != way => Err(self.wrong(&format!("{key}={other} is not supported"), why)),
            _ => Ok(()),
        }
    }

    /// `dest` of a type that takes a folder.
    fn folder(&mut self, kind: &str) -> Result<PathBuf> {
        match self.take("dest").filter(|dest| !dest.is_empty()) {
            None => Err(self.wrong(&format!("dest is required for {kind}"), "dest=FOLDER")),
            Some(dest) if dest == "-" => {
                Err(self.wrong(&format!("dest cannot be standard output for {kind}"), "dest=FOLDER"))
            }
            Some(dest) => Ok(dest.into()),
        }
    }

    /// `dest` of a type that takes a file.
    fn file(&mut self) -> Result<Option<PathBuf>> {
        let Some(dest) = self.take("dest").filter(|dest| !dest.is_empty()).map(PathBuf::from) else { return Ok(None) };
        match dest.is_dir() {
            true => Err(self.wrong(&format!("{} is a folder", dest.display()), "dest=FILE")),
            false => Ok(Some(dest)),
        }
    }

    fn files(&mut self) -> Result<Output> {
        self.only("platform-split", false, "platform-split=false: a build is for one platform")?;
        Ok(Output::plain(To::Files(self.folder("local")?)))
    }

    fn oci(&mut self) -> Result<Output> {
        let to = match self.switch("tar")?.unwrap_or(true) {
            true => To::File(Format::OciArchive, self.file()?.unwrap_or_else(|| "-".into())),
            false => To::File(Format::OciLayout, self.folder("oci with tar=false")?),
        };
        self.packed(to)
    }

    fn docker(&mut self) -> Result<Output> {
        self.only("tar", true, "tar=true; type=oci,tar=false writes an OCI layout into a folder")?;
        // Its layers are not compressed, and nobody asks for what is so anyway.
        if self.left.get("compression").is_some_and(|kind| kind == "uncompressed") {
            self.take("compression");
        }
        match self.file()? {
            Some(dest) => self.packed(To::File(Format::DockerArchive, dest)),
            None => self.packed(To::Engine),
        }
    }

    fn image(&mut self, registry: bool) -> Result<Output> {
        let push = self.switch("push")?.unwrap_or(registry);
        let by_digest = self.switch("push-by-digest")?.unwrap_or(false);
        // What these ask for is how the store works.
        self.only("unpack", true, "unpack=true: layers are kept unpacked")?;
        self.only("store", true, "store=true: what is built is in the store")?;
        // A name with the digest beside it finds an image here without being told to.
        self.switch("name-canonical")?;
        let plain = "http is spoken with registries on this machine alone";
        self.only("registry.insecure", false, &format!("registry.insecure=false: {plain}"))?;
        self.packed(if push { To::Registry { by_digest } } else { To::Store })
    }

    /// What all types have that write manifests.
    fn packed(&mut self, to: To) -> Result<Output> {
        let names = match self.take("name") {
            Some(name) if name == "*" => return Err(self.wrong("name=* is not supported", "name=NAME:TAG, or --tag")),
            names => names.map(|names| names.split(',').map(|name| name.trim().to_owned()).collect()),
        };
        let compression = match self.take("compression").as_deref() {
            None => None,
            Some("zstd") => Some(CompressionKind::Zstd),
            Some("gzip") => Some(CompressionKind::Gzip),
            Some(other) => {
                return Err(self.wrong(&format!("compression={other} is not supported"), "compression=zstd or gzip"));
            }
        };
        if self.take("compression-level").is_some() {
            let why = "compression-level is not supported";
            return Err(self.wrong(why, "no level: each layer is compressed once, so that it has one digest"));
        }
        self.only("oci-mediatypes", true, "oci-mediatypes=true: registries and engines since 2017 read OCI's types")?;
        let epoch = self.epoch;
        let why = match epoch {
            true => "no SOURCE_DATE_EPOCH: it bounds the times of files too",
            false => {
                "SOURCE_DATE_EPOCH in the environment or as a build argument, the time that none is to be later than"
            }
        };
        self.only("rewrite-timestamp", epoch, why)?;
        let force_compression = self.switch("force-compression")?.unwrap_or(false);
        let mut annotations = Vec::new();
        for (key, value) in std::mem::take(&mut self.left) {
            match Annotation::of_attribute(self.text, &key, &value)? {
                Some(note) => annotations.push(note),
                None => drop(self.left.insert(key, value)),
            }
        }
        Ok(Output { to, names: names.unwrap_or_default(), compression, force_compression, annotations })
    }

    fn end(&self, kind: &str) -> Result<()> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(key) => {
                let keys = match kind {
                    "local" | "tar" => "dest",
                    "oci" => "dest, tar, name, compression, force-compression, annotation.NAME",
                    "docker" => "dest, name, annotation.NAME",
                    "cacheonly" => "nothing beside the type",
                    _ => "name, push, push-by-digest, compression, force-compression, annotation.NAME",
                };
                Err(self.wrong(&format!("there is no `{key}` for type={kind}"), keys))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(text: &str) -> To {
        Output::parse(text, false).unwrap().to
    }

    #[test]
    fn short_forms_and_defaults_are_those_of_buildx() {
        let file = |format, dest: &str| To::File(format, dest.into());
        for (text, expected) in [
            ("out", To::Files("out".into())),
            ("a=b", To::Files("a=b".into())),
            ("-", file(Format::Rootfs, "-")),
            ("type=tar", file(Format::Rootfs, "-")),
            ("type=tar,dest=a.tar", file(Format::Rootfs, "a.tar")),
            ("TYPE=oci,DEST=-", file(Format::OciArchive, "-")),
            ("type=oci,tar=0,dest=out", file(Format::OciLayout, "out")),
            ("type=docker", To::Engine),
            ("type=docker,compression=uncompressed,dest=-", file(Format::DockerArchive, "-")),
            ("dest=\"a\",type=local", To::Files("\"a\"".into())),
            ("type=local,\"dest=a,b\"", To::Files("a,b".into())),
            ("type=image", To::Store),
            ("type=image,push=true,unpack=1,store=true", To::Registry { by_digest: false }),
            ("type=registry", To::Registry { by_digest: false }),
            ("type=registry,push=false", To::Store),
            ("type=image,push=t,push-by-digest=t,name-canonical=true", To::Registry { by_digest: true }),
            ("type=cacheonly", To::Cache),
        ] {
            assert_eq!(to(text), expected, "{text}");
        }
    }

    #[test]
    fn what_has_no_effect_is_an_error() {
        for (text, says) in [
            ("type=local", "dest is required"),
            ("type=local,dest=-", "cannot be standard output"),
            ("type=oci,tar=false", "dest is required"),
            ("dest=a,name=b", "the type is missing"),
            ("type=zip", "no type `zip`"),
            ("type=tar,dest=/", "is a folder"),
            ("type=tar,compression=gzip", "no `compression`"),
            ("type=local,dest=a,platform-split=true", "platform-split"),
            ("type=cacheonly,dest=a", "no `dest`"),
            ("type=image,dest=a", "no `dest`"),
            ("type=image,compression=estargz", "compression=estargz"),
            ("type=image,compression-level=3", "compression-level"),
            ("type=image,oci-mediatypes=false", "oci-mediatypes"),
            ("type=image,rewrite-timestamp=true", "rewrite-timestamp"),
            ("type=image,push=maybe", "push=maybe"),
            ("type=image,name=*", "name=*"),
            ("type=image,store=false", "store=false"),
            ("type=image,registry.insecure=true", "registry.insecure"),
            ("type=image,annotation-index.a=b", "no index"),
            ("type=image,attestation-prefix=x", "no `attestation-prefix`"),
        ] {
            let error = Output::parse(text, false).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn times_are_bounded_where_there_is_a_bound() {
        for (value, epoch, accepted) in
            [("true", true, true), ("false", true, false), ("0", false, true), ("1", false, false)]
        {
            let output = Output::parse(&format!("type=oci,rewrite-timestamp={value}"), epoch);
            assert_eq!(output.is_ok(), accepted, "{value} {epoch}");
        }
    }

    #[test]
    fn attributes_of_images_are_read() {
        let text = "type=image,\"name=a:1,b:2\",compression=gzip,force-compression=true,annotation.by=ada";
        let output = Output::parse(text, false).unwrap();
        assert_eq!(output.names, ["a:1", "b:2"]);
        assert_eq!((output.compression, output.force_compression), (Some(CompressionKind::Gzip), true));
        assert_eq!(output.annotations, Annotation::of_flag("by=ada").unwrap());
    }
}
