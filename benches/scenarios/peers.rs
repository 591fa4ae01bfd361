//! The other sides.

use std::process::Command;

use crate::command::{Result, output, timed};
use crate::side::{Run, Side};
use crate::site::{BASE, Base, IMAGE, Site};

/// The peers whose commands are in the environment.
pub fn of_the_environment() -> Vec<Box<dyn Side>> {
    let mut peers: Vec<Box<dyn Side>> = Vec::new();
    if let Some(program) = Program::of("SHIPLAP_BENCH_DOCKER") {
        peers.push(Box::new(Docker(program)));
    }
    if let Some(program) = Program::of("SHIPLAP_BENCH_BUILDAH") {
        peers.push(Box::new(Buildah(program)));
    }
    peers
}

/// A program, and the base images that it was given.
struct Program {
    command: Vec<String>,
    bases: Vec<String>,
}

impl Program {
    fn of(variable: &str) -> Option<Self> {
        let command = std::env::var(variable).unwrap_or_default();
        let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if command.is_empty() {
            println!("left out: {variable} is not set");
            return None;
        }
        Some(Self { command, bases: Vec::new() })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        command
    }

    fn run<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String> {
        output(self.command().args(args))
    }

    fn timed(&self, args: &[&str], site: &Site) -> Result<Run> {
        let (seconds, _) = timed(self.command().args(args).args(site.arguments()))?;
        Ok(Run { seconds, steps: None })
    }

    /// Removes what may be there. That it is not is no error.
    fn remove(&self, args: &[&str], images: &[String]) {
        if !images.is_empty() {
            let _ = self.run(args.iter().copied().chain(images.iter().map(String::as_str)));
        }
    }

    /// The images that this program made, newest first.
    fn made(&self) -> Vec<String> {
        [IMAGE, BASE].into_iter().map(str::to_owned).chain(self.bases.iter().rev().cloned()).collect()
    }
}

struct Docker(Program);

impl Side for Docker {
    fn name(&self) -> &'static str {
        "Docker"
    }

    fn version(&self) -> Result<String> {
        let server = self.0.run(["version", "--format", "{{.Server.Version}}"])?;
        let buildx = self.0.run(["buildx", "version"])?;
        let driver = self.0.run(["info", "--format", "{{.Driver}}"])?;
        Ok(format!("{}, {}, {}", server.trim(), buildx.trim(), driver.trim()))
    }

    fn set_base(&mut self, site: &Site, base: &Base) -> Result<()> {
        // Imported once: a second import of the same files is an image of its own, made later.
        if !self.0.bases.contains(&base.name) {
            let mut command = self.0.command();
            command.arg("import").args(site.changes.iter().map(|change| format!("--change={change}")));
            output(command.arg(&base.tar).arg(&base.name))?;
            self.0.bases.push(base.name.clone());
        }
        self.0.run(["tag", &base.name, BASE]).map(drop)
    }

    fn build(&mut self, site: &Site) -> Result<Run> {
        self.0.timed(&["buildx", "build"], site)
    }

    fn build_cold(&mut self, site: &Site) -> Result<Run> {
        self.0.remove(&["image", "rm"], &[IMAGE.to_owned()]);
        // The caches that steps mount go with it.
        self.0.run(["builder", "prune", "--all", "--force"])?;
        self.0.timed(&["buildx", "build", "--no-cache"], site)
    }

    fn clean(&mut self) {
        self.0.remove(&["image", "rm"], &self.0.made());
    }
}

struct Buildah(Program);

impl Buildah {
    /// With images of single steps kept, as the others do.
    fn timed(&self, flags: &[&str], site: &Site) -> Result<Run> {
        // It wants to raise what a step may have above what we may, which not every root can.
        let limits =
            "for r in nofile:$(ulimit -Hn) nproc:$(ulimit -Hu); do echo --ulimit=${r%:*}=${r#*:}:${r#*:}; done";
        let limits = output(Command::new("bash").args(["-c", limits]))?.replace("unlimited", "-1");
        let limits: Vec<&str> = limits.lines().collect();
        self.0.timed(&[&["build", "--layers", "--pull=never"], limits.as_slice(), flags].concat(), site)
    }

    /// Images without a name, among them those of single steps, and the caches that steps mount.
    fn prune(&self) -> Result<()> {
        self.0.run(["prune", "--force"]).map(drop)
    }
}

impl Side for Buildah {
    fn name(&self) -> &'static str {
        "Buildah"
    }

    fn version(&self) -> Result<String> {
        let version = self.0.run(["version"])?;
        let line = version.lines().find_map(|line| line.strip_prefix("Version:")).unwrap_or(&version);
        let info: serde_json::Value = serde_json::from_str(&self.0.run(["info"])?)?;
        let driver = info["store"]["GraphDriverName"].as_str().unwrap_or("unknown driver");
        // How steps run is chosen by Buildah's own variables, which reach it from here.
        let chosen = ["BUILDAH_ISOLATION", "BUILDAH_RUNTIME"].into_iter().filter_map(|name| std::env::var(name).ok());
        Ok([vec![line.trim().to_owned(), driver.to_owned()], chosen.collect()].concat().join(", "))
    }

    fn set_base(&mut self, site: &Site, base: &Base) -> Result<()> {
        // Buildah has no import, so the tar is unpacked in a container without any files.
        if !self.0.bases.contains(&base.name) {
            let container = self.0.run(["from", "scratch"])?.trim().to_owned();
            let tar = base.tar.to_str().ok_or("the base image's path is no UTF-8")?;
            self.0.run(["add", "--quiet", &container, tar, "/"])?;
            for change in &site.changes {
                let variable = change.strip_prefix("ENV ").ok_or_else(|| format!("not an ENV: {change}"))?;
                self.0.run(["config", "--env", variable, &container])?;
            }
            self.0.run(["commit", "--quiet", "--rm", &container, &base.name])?;
            self.0.bases.push(base.name.clone());
        }
        self.0.run(["tag", &base.name, BASE]).map(drop)
    }

    fn build(&mut self, site: &Site) -> Result<Run> {
        self.timed(&[], site)
    }

    fn build_cold(&mut self, site: &Site) -> Result<Run> {
        self.0.remove(&["rmi", "--force"], &[IMAGE.to_owned()]);
        self.prune()?;
        self.timed(&["--no-cache"], site)
    }

    fn clean(&mut self) {
        self.0.remove(&["rmi", "--force"], &self.0.made());
        if let Err(why) = self.prune() {
            eprintln!("scenarios: {why}");
        }
    }
}
