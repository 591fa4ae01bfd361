//! `shiplap doctor`

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use serde::Serialize;
use shiplap_builder::build;
use shiplap_builder::sandbox::{self, Sandbox};
use shiplap_cache::Store;

use crate::cli::Global;
use crate::{app, output};

/// Say what this machine lacks for building images
#[derive(Debug, clap::Args)]
pub struct Args {}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    found: String,
    /// What to do about it.
    hint: Option<&'static str>,
}

pub fn run(global: &Global, _: &Args) -> crate::failure::Result<ExitCode> {
    let home = app::home(global)?;
    let mut checks = vec![
        kernel(),
        overlay(),
        namespaces(),
        program("git", "ADD of git repositories and releases need it: install git"),
    ];
    if !is_root() {
        checks.push(program("newuidmap", "install the package uidmap (Debian, Ubuntu) or shadow-utils (Fedora)"));
        checks.push(subids());
    }
    checks.push(store(&home));
    if checks.iter().all(|check| check.ok) {
        checks.extend(try_out(&home));
    }
    let able = checks.iter().all(|check| check.ok);
    if global.json {
        output::json(&serde_json::json!({"able": able, "checks": checks}))?;
    } else {
        for check in &checks {
            let mark = if check.ok { "ok " } else { "NO " };
            output::line(&format!("{mark} {}: {}", check.name, check.found));
            if let (false, Some(hint)) = (check.ok, check.hint) {
                output::line(&format!("    {hint}"));
            }
        }
        output::line(if able { "this machine can build images" } else { "this machine cannot build images yet" });
    }
    Ok(if able { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn is_root() -> bool {
    read("/proc/self/status")
        .lines()
        .any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn kernel() -> Check {
    let release = read("/proc/sys/kernel/osrelease").trim().to_owned();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    Check { name: "Linux", ok: version >= (5, 12), found: release, hint: Some("Linux 5.12 or newer is needed") }
}

fn overlay() -> Check {
    let known = read("/proc/filesystems").lines().any(|line| line.ends_with("\toverlay"));
    let found = if known { "there" } else { "not loaded" }.to_owned();
    Check { name: "overlayfs", ok: known, found, hint: Some("load it: modprobe overlay") }
}

fn namespaces() -> Check {
    let most: u64 = read("/proc/sys/user/max_user_namespaces").trim().parse().unwrap_or(0);
    let denied = read("/proc/sys/kernel/unprivileged_userns_clone").trim() == "0"
        || read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").trim() == "1";
    let ok = is_root() || (most > 0 && !denied);
    let found = match (is_root(), ok) {
        (true, _) => "not needed, this is root",
        (false, true) => "allowed",
        (false, false) => "denied to users",
    };
    let hint = Some(
        "run as root, or allow them: sysctl kernel.apparmor_restrict_unprivileged_userns=0 user.max_user_namespaces=10000",
    );
    Check { name: "user namespaces", ok, found: found.to_owned(), hint }
}

/// Starts a step as a build does. In a container all else may look well, and that be forbidden.
fn try_out(home: &Path) -> Vec<Check> {
    let step = |tried: Result<(), String>| Check {
        name: "a step",
        ok: tried.is_ok(),
        found: tried.map_or_else(|why| format!("cannot be run: {why}"), |()| "can be run".to_owned()),
        hint: Some("in a container: docs/ci.md says with which options it must be started; elsewhere: run as root"),
    };
    if let Err(why) = sandbox::enter_user_namespace() {
        return vec![step(Err(why.to_string()))];
    }
    // Where the store is or will be: nothing in it is touched.
    let home = std::path::absolute(home).unwrap_or_else(|_| home.to_owned());
    let tmp = home.join("tmp");
    let mut places = std::iter::once(&*tmp).chain(home.ancestors());
    let existing = places.find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    let folder = tempfile::Builder::new().prefix(".shiplap-doctor-").tempdir_in(existing);
    let store = match folder.as_ref().map(|folder| Store::open(folder.path())) {
        Ok(Ok(store)) => store,
        Ok(Err(why)) => return vec![step(Err(told(&why)))],
        Err(why) => return vec![step(Err(format!("{}: {why}", existing.display())))],
    };
    let sandbox = Sandbox::this_program();
    let ran = build::check_running(&sandbox, &store).map_err(|why| told(&why));
    let able = ran.is_ok();
    let mut checks = vec![step(ran)];
    if able {
        checks.push(fuse(build::check_serving(&sandbox, &store).map_err(|why| told(&why))));
    }
    checks
}

/// No build needs it.
fn fuse(tried: Result<(), String>) -> Check {
    let found = match tried {
        Ok(()) => "works, so a step gets the files that only a cache has one by one".to_owned(),
        Err(why) => format!("does not work ({why}), so a step gets the layers that only a cache has whole"),
    };
    Check { name: "/dev/fuse", ok: true, found, hint: None }
}

/// An error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

fn program(name: &'static str, hint: &'static str) -> Check {
    let run =
        Command::new(name).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let ok = run.is_ok();
    Check { name, ok, found: if ok { "there" } else { "not found" }.to_owned(), hint: Some(hint) }
}

fn subids() -> Check {
    let user = std::env::var("USER").unwrap_or_default();
    let ok = ["/etc/subuid", "/etc/subgid"]
        .iter()
        .all(|file| read(file).lines().any(|l| l.split(':').next() == Some(&user)));
    let found = if ok { "there" } else { "none for this user" }.to_owned();
    Check {
        name: "subuid and subgid ranges",
        ok,
        found,
        hint: Some("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER"),
    }
}

fn store(home: &Path) -> Check {
    let hint = Some("set SHIPLAP_HOME to a folder on a local file system that you may write to (ext4, xfs, btrfs)");
    let existing = home.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    // Overlayfs takes no overlayfs as its upper directory, which is what a container's own file system is.
    let kind = Command::new("stat").args(["-f", "-c", "%T"]).arg(existing).output();
    let kind = kind.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default();
    let ok = !matches!(kind.as_str(), "overlayfs" | "nfs" | "fuseblk" | "cifs");
    Check { name: "store", ok, found: format!("{} on {kind}", home.display()), hint }
}
