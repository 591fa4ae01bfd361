//! What is attached to an image, and its signatures, on the way to a registry and from it.

use shiplap_cache::Digest;
use shiplap_registry::signature::{BUNDLE, PrivateKey, Signed, signature_tag};
use shiplap_registry::{Client, Images, Pushed, Reference, Repository};

use crate::failure::Result;

/// The type of a config that is none.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Pushes an image. Where its tag is right already, the registry may have lost a part of it since: that is sent too.
pub async fn push_whole(client: &Client, images: &Images, image: &Digest, target: &Reference) -> Result<Pushed> {
    let pushed = client.push(images, image, target).await?;
    match pushed.unchanged {
        true => Ok(client.complete(images, None, image, target.repository()).await?),
        false => Ok(pushed),
    }
}

/// Pushes what is attached to an image and what the registry lacks of it. Returns the bytes that were sent.
///
/// Documents are made for whoever wants them: a registry that does not take them is no reason to fail, and `tell` is told. A signature
/// that is not there makes the image useless for whoever asks for it.
pub async fn push_attached(
    client: &Client,
    images: &Images,
    repository: &Repository,
    image: &Digest,
    tell: &dyn Fn(&str),
) -> Result<u64> {
    let here = images.referrers(image)?;
    let mut sent = push_signatures(client, images, repository, image).await?;
    if here.is_empty() {
        return Ok(sent);
    }
    let there = client.referrers(repository, image, None).await?;
    for attached in here.iter().filter(|one| there.iter().all(|known| known.digest != one.manifest.digest)) {
        let kind = attached.manifest.artifact_type.as_deref().unwrap_or_default();
        match client.push_artifact(images, &attached.manifest.digest, repository).await {
            Ok(pushed) => sent += pushed.sent,
            Err(error) if kind != BUNDLE => {
                tell(&format!("the registry did not take the {kind} of {}: {error}", repository.familiar()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(sent)
}

/// Pushes the signatures under their tag, beside those that are there.
async fn push_signatures(client: &Client, images: &Images, repository: &Repository, image: &Digest) -> Result<u64> {
    let tag = repository.tagged(&signature_tag(image))?;
    let Some(mine) = images.tag_digest(&tag)? else { return Ok(0) };
    let all = match client.resolve(&tag).await? {
        Some(theirs) if theirs == mine => return Ok(0),
        Some(theirs) => {
            client.pull_artifact(images, &repository.with_digest(theirs)).await?;
            images.merge_signatures(repository, image, &theirs)?
        }
        None => mine,
    };
    Ok(client.push(images, &all, &tag).await?.sent)
}

/// Signs an image, unless the store or its registry has a signature by the same key: on a machine that has neither image nor signatures a
/// release would be signed again each time.
pub async fn sign(
    client: Option<&Client>,
    images: &Images,
    repository: &Repository,
    image: &Digest,
    key: &PrivateKey,
) -> Result<Signed> {
    if let Some(client) = client
        && !images.verify_signature(repository, image, &key.public())?.is_good()
    {
        fetch_signatures(client, images, repository, image).await?;
    }
    Ok(images.sign(repository, image, key)?)
}

/// Takes the signatures of an image along to another repository.
pub fn copy_signatures(images: &Images, from: &Repository, to: &Repository, image: &Digest) -> Result<()> {
    if from != to
        && let Some(signatures) = images.tag_digest(&from.tagged(&signature_tag(image))?)?
    {
        images.merge_signatures(to, image, &signatures)?;
    }
    Ok(())
}

/// Fetches the signatures of an image that its registry has.
pub async fn fetch_signatures(client: &Client, images: &Images, repository: &Repository, image: &Digest) -> Result<()> {
    let tag = repository.tagged(&signature_tag(image))?;
    if let Some(theirs) = client.resolve(&tag).await? {
        client.pull_artifact(images, &repository.with_digest(theirs)).await?;
        images.merge_signatures(repository, image, &theirs)?;
    }
    for referrer in client.referrers(repository, image, None).await? {
        // Under the fallback tag cosign's own client notes the type of the config, which says nothing.
        let kind = referrer.artifact_type.as_deref();
        if kind.is_none_or(|kind| kind == BUNDLE || kind == EMPTY) {
            client.pull_artifact(images, &repository.with_digest(referrer.digest)).await?;
            images.keep_referrer(&referrer.digest)?;
        }
    }
    Ok(())
}
