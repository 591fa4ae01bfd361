//! How long the history keeps people waiting as it grows: the program itself, from its start to its end, with up to 100 instances and 10,000 releases in
//! one store.
//!
//! ```text
//! cargo bench --bench history
//! ```
//!
//! Each instance has one small image, a Compose target, and a deployment of each release. The first and the last two releases are made and deployed by the
//! program; those between are written as a Shiplap without a log had them, so that what `migrate` says is how long a store of this size waits once.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use shiplap_cache::Digest;
use shiplap_manifests::release::{Release, ReleaseSeq};
use shiplap_manifests::version::Bump;
use shiplap_registry::tag::ReleaseTag;

/// Instances, and releases of each.
const SIZES: [(usize, u64); 3] = [(10, 10), (100, 10), (100, 100)];
const ROUNDS: usize = 9;

/// The way back to version 1 of the file.
const TO_VERSION_1: &str = "
    DROP TRIGGER releases_are_logged; DROP TRIGGER new_deployments_are_logged; DROP TRIGGER ended_deployments_are_logged;
    DROP TABLE log;
    ALTER TABLE deployments DROP COLUMN origin;
    PRAGMA user_version = 1;";

fn main() {
    println!("median and slowest of {ROUNDS} runs of the program, in milliseconds");
    for (instances, releases) in SIZES {
        let folder = tempfile::tempdir_in(".").expect("a folder");
        let fleet = Fleet { folder: folder.path() };
        let migrated = fleet.prepare(instances, releases);
        let size = std::fs::metadata(folder.path().join("store/history.db")).expect("the history").len();
        println!("{instances} instances, {} releases, {size} bytes of history.db", instances as u64 * releases);
        println!("  migrate               {:8.1}", millis(migrated));
        fleet.print("status --all", |_| vec!["status", "--all"]);
        let names: Vec<String> = (0..ROUNDS).map(|n| name(n * instances / ROUNDS)).collect();
        fleet.print("status INSTANCE", |round| vec!["status", &names[round]]);
        fleet.print("rollback INSTANCE", |round| vec!["rollback", &names[round]]);
        fleet.print("log", |_| vec!["log"]);
        fleet.print("verify --releases", |_| vec!["verify", "--releases"]);
    }
}

fn name(n: usize) -> String {
    format!("campus-{n}")
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

struct Fleet<'a> {
    folder: &'a Path,
}

impl Fleet<'_> {
    /// Runs the program and says how long it took.
    fn run(&self, args: &[&str]) -> Duration {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shiplap"));
        command.args(args).current_dir(self.folder).env("SHIPLAP_HOME", self.folder.join("store"));
        command.env("SHIPLAP_PROGRESS", "quiet").stdin(Stdio::null()).stdout(Stdio::null());
        let began = Instant::now();
        let status = command.status().expect("shiplap runs");
        let took = began.elapsed();
        assert!(status.success(), "{args:?}");
        took
    }

    fn print<'w>(&self, what: &str, args: impl Fn(usize) -> Vec<&'w str>) {
        let mut times: Vec<Duration> = (0..ROUNDS).map(|round| self.run(&args(round))).collect();
        times.sort();
        println!("  {what:20} {:9.1} {:8.1}", millis(times[ROUNDS / 2]), millis(times[ROUNDS - 1]));
    }

    /// Makes the store; how long it took to open the history of version 1.
    fn prepare(&self, instances: usize, releases: u64) -> Duration {
        let mut toml = String::new();
        for name in (0..instances).map(name) {
            toml += &format!(
                "[instance.{name}.image.openedx]\ncontext = \"image\"\nrepository = \"{name}/openedx\"\n[[instance.{name}.deploy]]\n\
                 kind = \"compose\"\nfile = \"deploy/{name}.yml\"\nservices = {{ lms = \"openedx\", cms = \"openedx\" }}\n"
            );
        }
        for (path, text) in [
            ("shiplap.toml", toml.as_str()),
            ("image/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n"),
            ("deploy/.gitignore", "*.yml\n"),
            (".gitignore", "/store\n"),
        ] {
            let path = self.folder.join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder is made");
            std::fs::write(path, text).expect("a file is written");
        }
        self.git(&["init", "-q"]);
        self.git(&["add", "."]);
        self.git(&["commit", "-q", "-m", "first"]);
        self.run(&["release", "--all", "0.0.1"]);
        self.run(&["deploy", "--all", "0.0.1"]);
        let mut db = Connection::open(self.folder.join("store/history.db")).expect("the history");
        db.execute_batch(TO_VERSION_1).expect("an older history");
        let tx = db.transaction().expect("a transaction");
        (0..instances).for_each(|n| self.fill(&tx, &name(n), releases - 2));
        tx.commit().expect("rows");
        drop(db);
        let migrated = self.run(&["releases", &name(0)]);
        for last in [releases - 1, releases] {
            let version = format!("0.0.{last}");
            self.run(&["release", "--all", &version]);
            self.run(&["deploy", "--all", &version]);
        }
        migrated
    }

    /// Further releases like the first one, up to this many.
    fn fill(&self, db: &Connection, name: &str, releases: u64) {
        let blobs = self.folder.join("store/blobs/sha256");
        let first: String = db
            .query_row("SELECT digest FROM releases WHERE instance = ?1", [name], |row| row.get(0))
            .expect("a release");
        let mut digest: Digest = first.parse().expect("a digest");
        let bytes = std::fs::read(blobs.join(digest.hex())).expect("a manifest");
        let mut release = Release::from_bytes(&bytes).expect("a manifest");
        for sequence in 2..=releases {
            let version = Bump::Patch.after(Some(&release.version));
            let tag = ReleaseTag::new(&version, release.git.commit.as_str(), None).expect("a tag");
            for image in &mut release.images {
                image.reference.tag = tag.clone();
            }
            release = Release { sequence: ReleaseSeq(sequence), previous: Some(digest), version, tag, ..release };
            let bytes = release.to_bytes().expect("canonical JSON");
            digest = Digest::of(&bytes);
            std::fs::write(blobs.join(digest.hex()), bytes).expect("a manifest is written");
            let (version, tag, created) =
                (release.version.to_string(), release.tag.to_string(), release.created.to_string());
            db.prepare_cached("INSERT INTO releases VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
                .expect("a statement")
                .execute(params![
                    name,
                    sequence,
                    version,
                    tag,
                    digest.to_string(),
                    release.git.commit.as_str(),
                    created
                ])
                .expect("a release");
            db.prepare_cached(
                "INSERT INTO deployments SELECT instance, ?2, ?2, action, actor, reason, rollback_of, restores, ?2 - 1, holds, outcome, note,
                 started, finished, targets FROM deployments WHERE instance = ?1 AND sequence = 1",
            )
            .expect("a statement")
            .execute(params![name, sequence])
            .expect("a deployment");
        }
    }

    fn git(&self, args: &[&str]) {
        let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"];
        let status = Command::new("git").current_dir(self.folder).args(identity).args(args).status();
        assert!(status.expect("git runs").success());
    }
}
