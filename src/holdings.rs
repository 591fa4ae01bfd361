//! What a release says of the images that it is made of: facts, and migrations.

use std::collections::BTreeMap;
use std::path::Path;

use shiplap_manifests::Config;
use shiplap_manifests::config::{Deploy, Instance};
use shiplap_manifests::inspect::{Environment, Facts, InspectError};
use shiplap_manifests::names::ImageName;
use shiplap_manifests::release::{ImageInputs, MigrationSet};

use crate::app::App;

/// Adds what an image holds to its inputs, and gives its migrations. An image that cannot be read is released all the same, without them.
pub fn add(
    app: &App,
    name: &ImageName,
    told: Result<Facts, InspectError>,
    inputs: &mut ImageInputs,
) -> Option<MigrationSet> {
    match told {
        Ok(Facts { facts, migrations }) => {
            inputs.facts.extend(facts);
            Some(migrations)
        }
        Err(why) => {
            app.note(&format!("the release does not say which migrations it has, for {name} cannot be read: {why}"));
            None
        }
    }
}

/// The migrations of two images.
pub fn together((mut one, other): (MigrationSet, MigrationSet)) -> MigrationSet {
    one.extend(other);
    one
}

/// What the Tutor environment of an instance says: the one that is configured, else the one that the build context is in.
pub fn of_environment(config: &Config, instance: &Instance, context: &Path) -> BTreeMap<String, String> {
    let of_target = |deploy: &Deploy| match deploy {
        Deploy::Tutor(target) => target.root.clone(),
        _ => None,
    };
    let root = instance.tutor_root.clone().or_else(|| instance.deploy.iter().find_map(of_target));
    let environment = match root {
        Some(root) => Environment::of_root(&config.folder().join(root)),
        None => Environment::around(context),
    };
    let facts =
        environment.map(|Environment { version, plugins }| [("tutor", version), ("tutor plugins", plugins.join(" "))]);
    facts.into_iter().flatten().map(|(name, value)| (name.to_owned(), value)).collect()
}
