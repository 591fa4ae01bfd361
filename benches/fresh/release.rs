//! `shiplap release` on a fresh runner: with the files of the image that it reads, and with all layers.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::command::{Result, output, timed};
use crate::proxy::Counts;
use crate::sides::{Built, Shiplap};
use crate::site::Site;

/// The names of the two ways.
pub const FILES: &str = "Shiplap";
pub const WHOLE: &str = "all layers";

/// The way of `--cache-fetch`, and what it is called here.
pub const WAYS: [(&str, &str); 2] = [("files", FILES), ("whole", WHOLE)];

/// Releases the image of a site that was built, from the cache of a side, into a repository that has nothing.
pub fn release(side: &Shiplap, site: &Site, work: &Path, way: &str, unique: u64) -> Result<Built> {
    let (folder, store) = (work.join(format!("release-{unique}")), work.join(format!("release-store-{unique}")));
    output(Command::new("cp").arg("-a").arg(&site.folder).arg(&folder))?;
    let config = format!(
        "[release]\nsbom = true\n[instance.campus.image.openedx]\ncontext = \"openedx\"\ntarget = \"final\"\n\
         repository = \"{}/release-{unique}/openedx\"\nbuild-contexts = {{ edx-platform = \"edx-platform\" }}\n\
         build-args = {{ BASE_IMAGE = \"{}\" }}\n",
        side.registry(),
        side.base(),
    );
    std::fs::write(folder.join("shiplap.toml"), config)?;
    let me = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"];
    for words in [&["init", "-q"][..], &["add", "-A"], &["commit", "-qm", "site"]] {
        output(Command::new("git").current_dir(&folder).args(me).args(words))?;
    }
    let mut release = Shiplap::command(&store);
    release.current_dir(&folder).args(["release", "campus", "1.0.0", side.cache_from(), "--cache-fetch", way]);
    let (seconds, said) = timed(&mut release)?;
    let said: Value = serde_json::from_str(&said)?;
    let (reused, ran) = (&said["steps"]["reused"], &said["steps"]["run"]);
    let words = format!("{reused} steps reused, {ran} run");
    Ok(Built { seconds, past_proxy: Counts::default(), said: json!({"steps": said["steps"]}), words })
}
