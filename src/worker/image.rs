//! The image that the container is made of: this program, the libraries that it needs, and the certificates of authorities.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use shiplap_cache::{ContentHash, Digest};
use shiplap_registry::tarball::{Head, Kind, Writer};

use crate::failure::{Failure, Kind as FailureKind, Result};

/// Where the program is in the image.
pub const PROGRAM: &str = "/shiplap";

/// Where Linux distributions have the certificates: Debian, Fedora, SUSE.
const CERTIFICATES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// What it is called in an engine.
pub const REPOSITORY: &str = "shiplap.local/worker";

/// An image, ready to be loaded.
pub struct Image {
    /// Its name, which has its contents in it.
    pub name: String,
    files: BTreeMap<PathBuf, (u32, Vec<u8>)>,
    architecture: String,
}

impl Image {
    /// Of this program, or of another file that runs without libraries.
    pub fn of(program: Option<&Path>, architecture: &str) -> Result<Self> {
        let own = own_architecture();
        let mut files = BTreeMap::new();
        match program {
            Some(program) => drop(files.insert(PROGRAM.into(), (0o755, read(program)?))),
            None if architecture == own => {
                let this = std::env::current_exe();
                let this =
                    this.map_err(|e| Failure::new(FailureKind::Failed, format!("where is this program? {e}")))?;
                files.insert(PROGRAM.into(), (0o755, read(&this)?));
                for library in libraries(&this)? {
                    let content = read(&library)?;
                    files.insert(library, (0o755, content));
                }
            }
            None => {
                let why = format!(
                    "the engine's machine is {architecture} and this one is {own}, so this program does not run there"
                );
                return Err(Failure::new(FailureKind::Usage, why)
                    .hint("--engine-program names a file of shiplap for that machine, linked statically"));
            }
        }
        let found = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from).into_iter();
        let found = found.chain(CERTIFICATES.iter().map(PathBuf::from)).find(|path| path.exists());
        if let Some(certificates) = found {
            files.insert(CERTIFICATES[0].into(), (0o644, read(&certificates)?));
        }
        files.insert("/etc/passwd".into(), (0o644, b"root:x:0:0:root:/root:/bin/sh\n".to_vec()));
        files.insert("/etc/group".into(), (0o644, b"root:x:0:\n".to_vec()));
        let mut all = blake3_of(architecture.as_bytes());
        for (path, (_, content)) in &files {
            all.extend(blake3_of(path.as_os_str().as_encoded_bytes()));
            all.extend(blake3_of(content));
        }
        let tag = &ContentHash::of(&all).to_string()[..16];
        Ok(Self { name: format!("{REPOSITORY}:{tag}"), files, architecture: architecture.to_owned() })
    }

    /// The image as `docker load` reads it.
    pub fn archive(&self) -> Result<Vec<u8>> {
        let mut layer = Writer::new(Vec::new());
        let mut write = || {
            let mut folders = std::collections::BTreeSet::from(["tmp".to_owned(), "root".to_owned(), "run".to_owned()]);
            for path in self.files.keys() {
                let parents = path.ancestors().skip(1).filter(|parent| parent.parent().is_some());
                folders.extend(parents.map(|parent| parent.display().to_string().trim_start_matches('/').to_owned()));
            }
            for folder in folders {
                let mode = if folder == "tmp" { 0o1777 } else { 0o755 };
                layer
                    .entry(&Head { path: folder.into(), kind: Kind::Dir, mode, ..Head::default() }, std::io::empty())?;
            }
            for (path, (mode, content)) in &self.files {
                let path = path.display().to_string().trim_start_matches('/').to_owned();
                let head = Head { path: path.into(), mode: *mode, size: content.len() as u64, ..Head::default() };
                layer.entry(&head, &content[..])?;
            }
            Ok(())
        };
        write().map_err(in_memory)?;
        let layer = layer.finish().map_err(in_memory)?;
        let config = serde_json::json!({
            "architecture": self.architecture, "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Labels": {"org.opencontainers.image.title": "shiplap build --engine"}},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]},
        });
        let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": [self.name], "Layers": ["layer.tar"]}]);
        let mut archive = Writer::new(Vec::new());
        let (config, manifest) = (config.to_string().into_bytes(), manifest.to_string().into_bytes());
        for (name, content) in [("manifest.json", &manifest), ("config.json", &config), ("layer.tar", &layer)] {
            let head = Head { path: name.into(), mode: 0o644, size: content.len() as u64, ..Head::default() };
            archive.entry(&head, &content[..]).map_err(in_memory)?;
        }
        archive.finish().map_err(in_memory)
    }
}

fn blake3_of(bytes: &[u8]) -> Vec<u8> {
    ContentHash::of(bytes).as_bytes().to_vec()
}

fn in_memory(error: std::io::Error) -> Failure {
    Failure::new(FailureKind::Failed, format!("cannot make the image of the worker: {error}"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Failure::new(FailureKind::Missing, format!("cannot read {}: {e}", path.display())))
}

/// This machine's architecture in Go's words.
fn own_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The loader and the shared objects of a program, as `ldd(1)` finds them; none of one that is linked statically.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let failed = |why: String| {
        Failure::new(FailureKind::Missing, format!("cannot find the libraries of {}: {why}", program.display()))
            .hint("ldd is a part of the C library's programs (Debian: libc-bin); --engine-program names a static file")
    };
    let output = Command::new("ldd").arg(program).output().map_err(|e| failed(e.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return if said.contains("not a dynamic executable") { Ok(Vec::new()) } else { Err(failed(said)) };
    }
    Ok(paths(&said))
}

/// The paths in what `ldd` prints: `name => /path (0x...)`, or `/path (0x...)` for the loader. The kernel's own object has no path.
fn paths(said: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let rest = line.split_once("=>").map_or(line, |(_, path)| path).trim();
        rest.split_whitespace().next().filter(|path| path.starts_with('/')).map(PathBuf::from)
    };
    said.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_prints() {
        let said = "\tlinux-vdso.so.1 (0x00007ff6eadea000)\n\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007ff6e6b00000)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007ff6eadec000)\n\tstatically linked\n";
        let expected = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(paths(said), expected);
    }

    #[test]
    fn the_name_of_the_image_says_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("shiplap");
        let name = |text: &str, architecture: &str| {
            std::fs::write(&program, text).unwrap();
            Image::of(Some(&program), architecture).unwrap().name
        };
        assert_eq!(name("one", "arm64"), name("one", "arm64"));
        assert_ne!(name("one", "arm64"), name("two", "arm64"));
        assert_ne!(name("one", "arm64"), name("one", "amd64"));
        assert!(Image::of(None, "riscv64").is_err());
    }
}
