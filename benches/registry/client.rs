//! Who pushes and pulls.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use shiplap_cache::Store;
use shiplap_registry::{ClientOptions, Images};

use crate::image::Sample;

/// The first word of this program when it is run by itself to fetch an image and not unpack it.
pub const FETCH: &str = "fetch-blobs";

/// A program.
pub enum Client {
    Shiplap,
    Skopeo(String),
    Crane(String),
}

/// What it does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Push,
    Pull,
    /// A pull that does not unpack.
    Fetch,
}

/// Those that are here.
pub fn all() -> Vec<Client> {
    let named = |name: &str| std::env::var(name).ok().filter(|program| !program.is_empty());
    let others = [named("SHIPLAP_BENCH_SKOPEO").map(Client::Skopeo), named("SHIPLAP_BENCH_CRANE").map(Client::Crane)];
    [Client::Shiplap].into_iter().chain(others.into_iter().flatten()).collect()
}

impl Client {
    pub fn label(&self, way: Way) -> String {
        match (self, way) {
            (Self::Shiplap, Way::Fetch) => "shiplap, blobs only".to_owned(),
            (Self::Shiplap, Way::Pull) => "shiplap, unpacking".to_owned(),
            (Self::Shiplap, Way::Push) => "shiplap".to_owned(),
            (Self::Skopeo(program) | Self::Crane(program), _) => program.clone(),
        }
    }

    pub fn push(&self, sample: &Sample, to: &str) -> Command {
        let layout = sample.layout.display();
        match self {
            Self::Shiplap => {
                let mut command = shiplap(&sample.home);
                command.args(["push", &sample.name, "--as", to]);
                command
            }
            Self::Skopeo(program) => {
                let (from, to) = (format!("oci:{layout}:1"), format!("docker://{to}"));
                command(program, &["copy", "--preserve-digests", "--dest-tls-verify=false", &from, &to])
            }
            Self::Crane(program) => command(program, &["push", "--insecure", &layout.to_string(), to]),
        }
    }

    pub fn pull(&self, way: Way, from: &str, into: &Path) -> Command {
        let folder = into.join("image").display().to_string();
        match self {
            Self::Shiplap if way == Way::Fetch => {
                let own = std::env::current_exe().expect("this program");
                command(&own.display().to_string(), &[FETCH, from, &folder])
            }
            Self::Shiplap => {
                let mut command = shiplap(&into.join("image"));
                command.args(["pull", from]);
                command
            }
            Self::Skopeo(program) => {
                let (from, to) = (format!("docker://{from}"), format!("oci:{folder}:1"));
                command(program, &["copy", "--preserve-digests", "--src-tls-verify=false", &from, &to])
            }
            Self::Crane(program) => command(program, &["pull", "--insecure", "--format=oci", from, &folder]),
        }
    }
}

fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

fn shiplap(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shiplap"));
    command.env("SHIPLAP_HOME", home);
    command
}

/// Fetches an image into a new store, in a process of its own, so that its memory can be measured.
pub fn fetch(args: &[String]) {
    let [from, home] = args else { panic!("{FETCH} REFERENCE FOLDER") };
    let store = Arc::new(Store::open(Path::new(home)).expect("a store"));
    let client = shiplap_registry::Client::new(ClientOptions::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    let reference = from.parse().expect("a name");
    runtime.block_on(client.pull_artifact(&Images::new(store), &reference)).expect("the image");
}
