//! `shiplap verify-signature`

use std::path::PathBuf;
use std::process::ExitCode;

use shiplap_registry::Reference;

use super::sign::manifests;
use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use crate::output;
use crate::supply::{exchange, keys};

/// Say whether an image is signed by a key
///
/// Asks the store, and with --remote the image's registry. Ends with 3 where no signature is by the key and over the image's digest.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    name: Reference,
    /// The public key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Ask the registry which image the name stands for, and for its signatures
    #[arg(long)]
    remote: bool,
}

pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let key = keys::public(&args.key)?;
    let images = app.images()?;
    let repository = args.name.repository();
    let digest = if args.remote {
        let client = app.client();
        let digest = match args.name.digest() {
            Some(digest) => digest,
            None => client.resolve(&args.name).await?.ok_or_else(|| {
                Failure::new(Kind::Missing, format!("{} is not in its registry", args.name.familiar()))
            })?,
        };
        exchange::fetch_signatures(&client, &images, repository, &digest).await?;
        digest
    } else {
        // An image that was packed in several ways is signed in one of them.
        let all = manifests(&images, &args.name)?;
        let signed = all
            .iter()
            .find(|digest| images.verify_signature(repository, digest, &key).is_ok_and(|verdict| verdict.is_good()));
        *signed.or(all.first()).ok_or_else(|| {
            Failure::new(Kind::Refused, format!("{} was never packed, so nobody signed it", args.name.familiar()))
        })?
    };
    app.progress.finish();
    let verdict = images.verify_signature(repository, &digest, &key)?;
    if app.global.json {
        output::json(&serde_json::json!({
            "name": args.name.to_string(), "digest": digest, "signed": verdict.is_good(), "verdict": verdict,
        }))?;
    }
    if !verdict.is_good() {
        let why =
            format!("{}@{digest} is not signed by {}: {}", args.name.familiar(), args.key.display(), verdict.why());
        let failure = Failure::new(Kind::Refused, why);
        return Err(if args.remote { failure } else { failure.hint("--remote asks its registry") });
    }
    if !app.global.json {
        output::line(&format!("{}@{digest} is signed by {}", args.name.familiar(), args.key.display()));
        for good in &verdict.good {
            output::line(&format!("  {}  {}", good.form, good.digest));
        }
    }
    Ok(ExitCode::SUCCESS)
}
