//! How images are packed.

use clap::ValueEnum;
use shiplap_manifests::config;
use shiplap_registry::{Annotations, Compression, Image, Images, PackOptions, Packed};

use crate::app::App;
use crate::failure::{Failure, Kind, Result};

/// `--compression`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompressionKind {
    /// Small and fast; engines since Docker 23 and containerd 1.5 read it
    Zstd,
    /// For older engines
    Gzip,
}

impl CompressionKind {
    /// The same in the words of shiplap.toml.
    pub fn config(self) -> config::Compression {
        match self {
            Self::Zstd => config::Compression::Zstd,
            Self::Gzip => config::Compression::Gzip,
        }
    }
}

/// What becomes of an image when it is packed.
#[derive(Debug, Clone, Default)]
pub struct Packing {
    pub options: PackOptions,
    pub annotations: Annotations,
}

impl Packing {
    /// Without notes.
    pub fn plain(compression: Option<CompressionKind>) -> Result<Self> {
        let options = pack_options(compression.map(CompressionKind::config))?;
        Ok(Self { options, annotations: Annotations::default() })
    }

    /// Layers that only a tier has need not be here.
    #[must_use]
    pub fn with_layers_elsewhere(mut self, elsewhere: bool) -> Self {
        self.options.elsewhere = elsewhere;
        self
    }

    /// Whether layers are packed otherwise than in caches, so that they must be here.
    pub fn changes_layers(&self) -> bool {
        self.options.clamp.is_some() || self.options.compression != Compression::default()
    }

    /// Packs an image.
    pub fn pack(&self, app: &App, images: &Images, image: &Image) -> Result<Packed> {
        let packed = images.pack(image, &self.options, &*app.progress)?;
        Ok(images.annotate(packed, &self.annotations)?)
    }
}

/// The time that none in a new layer or configuration is to be later than (https://reproducible-builds.org/specs/source-date-epoch/).
pub const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// With the times that the environment bounds.
pub fn pack_options(compression: Option<config::Compression>) -> Result<PackOptions> {
    pack_options_at(compression, std::env::var(SOURCE_DATE_EPOCH).ok().as_deref())
}

/// With the times that a build argument bounds.
pub fn pack_options_at(compression: Option<config::Compression>, epoch: Option<&str>) -> Result<PackOptions> {
    let compression = match compression.unwrap_or_default() {
        config::Compression::Zstd => Compression::Zstd,
        config::Compression::Gzip => Compression::Gzip,
    };
    let clamp = match epoch.filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| {
            Failure::new(Kind::Usage, format!("SOURCE_DATE_EPOCH is `{text}`, not a number of seconds"))
        })?),
    };
    Ok(PackOptions { compression, clamp, ..PackOptions::default() })
}
