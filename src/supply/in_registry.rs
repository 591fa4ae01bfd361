//! Are images in the registry that their names say, all of them and whole?

use std::time::Duration;

use futures::future::join_all;
use shiplap_cache::Digest;
use shiplap_manifests::images::ImageProblem;
use shiplap_manifests::names::Reference;
use shiplap_registry::{Client, Error, Trouble};

/// How long registries have for their answers, all together. Who waits for a rollback would rather know that there is none.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks for all images at once; answers in their order.
pub fn look_up(client: &Client, images: &[(&Reference, &Digest)]) -> Vec<Result<(), ImageProblem>> {
    let one = async |(reference, digest): &(&Reference, &Digest)| {
        let name = reference.to_string().parse().map_err(|e| ImageProblem::Unknown(format!("{e}")))?;
        match tokio::time::timeout(PATIENCE, client.check_whole(&name, digest)).await {
            Ok(checked) => checked.map_err(problem),
            Err(_) => Err(ImageProblem::NotAsked(format!("no answer in {} seconds", PATIENCE.as_secs()))),
        }
    };
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(join_all(images.iter().map(one))))
}

/// What is wrong with the image, as far as it is known.
fn problem(error: Error) -> ImageProblem {
    match error {
        Error::OtherDigest { existing, .. } => ImageProblem::OtherDigest(existing),
        Error::Remote(remote) => match remote.trouble {
            Trouble::NotFound => ImageProblem::NotPushed,
            Trouble::Corrupt { .. } => ImageProblem::Incomplete(remote.to_string()),
            _ => ImageProblem::NotAsked(remote.to_string()),
        },
        error @ Error::Auth(_) => ImageProblem::NotAsked(error.to_string()),
        error => ImageProblem::Incomplete(error.to_string()),
    }
}
