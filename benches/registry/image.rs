//! An image that does not compress, in a store and as an OCI layout: every client has it in the form that it likes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shiplap_cache::{Store, Tree};
use shiplap_registry::archive::export_layout;
use shiplap_registry::{Image, Images, NoProgress, PackOptions, Reference};

pub struct Sample {
    pub home: PathBuf,
    pub layout: PathBuf,
    pub name: String,
}

impl Sample {
    /// An image of so many layers of so many bytes.
    pub fn new(dir: &Path, layers: usize, size: usize) -> Self {
        let (home, layout) = (dir.join(format!("home-{layers}")), dir.join(format!("layout-{layers}")));
        let store = Arc::new(Store::open(&home).expect("a store"));
        let images = Images::new(store.clone());
        let layers = (0..layers).map(|number| {
            let pending = store.begin_layer(&Tree::default()).expect("a layer");
            // As many files as a layer with a virtualenv has, about.
            for file in 0..64 {
                let seed = (number * 64 + file) as u64;
                let path = pending.upper().join(format!("{number}-{file}"));
                noise(&path, seed, size / 64).expect("a file");
            }
            store.commit_layer(pending, &Tree::default()).expect("a layer").expect("something in it")
        });
        let image = Image { layers: layers.collect(), ..image() };
        let id = images.save(&image).expect("an image");
        let packed = images.pack(&image, &PackOptions::default(), &NoProgress).expect("a packed image");
        let name = "bench.invalid/sample:1".to_owned();
        let reference: Reference = name.parse().expect("a name");
        images.name(&reference, &id).expect("a name");
        export_layout(&store, &packed, &[reference], &layout).expect("a layout");
        Self { home, layout, name }
    }
}

fn image() -> Image {
    let config = serde_json::json!({"architecture": "amd64", "os": "linux"});
    Image { config: config.as_object().cloned().unwrap_or_default(), ..Image::default() }
}

/// Bytes that no compressor makes smaller (xorshift64*), the same ones each time.
fn noise(path: &Path, seed: u64, size: usize) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for _ in 0..size / 8 {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        out.write_all(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes())?;
    }
    out.flush()
}
