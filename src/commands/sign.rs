//! `shiplap sign`

use std::path::PathBuf;
use std::process::ExitCode;

use shiplap_cache::Digest;
use shiplap_registry::{Images, Reference};

use super::build::packing::Packing;
use super::export::find;
use crate::app::App;
use crate::failure::Result;
use crate::output;
use crate::supply::{exchange, keys};

/// Sign an image of the store, so that `cosign verify --key` accepts it
///
/// The digest of its manifest is signed, as a payload under the tag sha256-DIGEST.sig and as a Sigstore bundle that is attached to it. Without
/// --push the signatures stay in the store, and the next release or push takes them along.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    name: Reference,
    /// The private key: cosign's, whose password is in COSIGN_PASSWORD, or one in PKCS#8
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Push the signatures to the image's repository, where the image must be
    #[arg(long)]
    push: bool,
}

/// The manifests that a name of the store stands for: one, but for an image that was never packed, or packed in several ways.
pub fn manifests(images: &Images, name: &Reference) -> Result<Vec<Digest>> {
    Ok(match images.tag_digest(name)? {
        Some(digest) => vec![digest],
        None => images.manifests_of(&find(images, name)?.id())?,
    })
}

/// The manifest that a name of the store stands for; an image that has none is packed.
fn manifest(app: &App, images: &Images, name: &Reference) -> Result<Digest> {
    Ok(match images.tag_digest(name)? {
        Some(digest) => digest,
        None => Packing::plain(None)?.pack(app, images, &find(images, name)?)?.manifest.digest,
    })
}

pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let key = keys::private(&args.key)?;
    let images = app.images()?;
    let digest = manifest(app, &images, &args.name)?;
    let repository = args.name.repository();
    let client = args.push.then(|| app.client());
    let signed = exchange::sign(client.as_ref(), &images, repository, &digest, &key).await?;
    if let Some(client) = &client {
        exchange::push_attached(client, &images, repository, &digest, &|text| app.note(text)).await?;
    }
    app.progress.finish();
    if app.global.json {
        output::json(&serde_json::json!({"name": args.name.to_string(), "digest": digest, "signed": signed}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let word = if signed.created { "signed" } else { "was signed already" };
    output::line(&format!("{}@{digest} {word}", args.name.familiar()));
    Ok(ExitCode::SUCCESS)
}
