//! Flags of `docker buildx build` that have nothing to act on here. A command line moves over with them; what somebody may count on is said
//! in a note.

use super::flags::wrong;
use crate::failure::Result;

/// Accepted as buildx accepts them.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of docker buildx build that have no effect here")]
pub struct UnusedFlags {
    /// The builder: this program builds itself
    #[arg(long, value_name = "NAME")]
    builder: Option<String>,
    /// Entitlements: network.host needs none, security.insecure and device are refused in a Dockerfile
    #[arg(long, value_name = "ENTITLEMENT")]
    allow: Vec<String>,
    /// The cgroup above those of steps
    #[arg(long, value_name = "CGROUP")]
    cgroup_parent: Option<String>,
    /// Debug logging
    #[arg(short = 'D', long)]
    debug: bool,
    #[command(flatten)]
    hidden: HiddenFlags,
}

/// Flags of the builder before BuildKit, which buildx accepts and hides too.
#[derive(Debug, clap::Args)]
struct HiddenFlags {
    // Of these four nothing is to be said: no containers are left over, no context is sent, no signatures are asked for.
    #[arg(long, hide = true)]
    rm: bool,
    #[arg(long, hide = true)]
    force_rm: bool,
    #[arg(long, hide = true)]
    compress: bool,
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    #[arg(long, hide = true)]
    squash: bool,
    #[arg(long, hide = true)]
    isolation: Option<String>,
    #[arg(long, hide = true)]
    security_opt: Vec<String>,
    #[arg(short, long, hide = true)]
    memory: Option<String>,
    #[arg(long, hide = true, allow_hyphen_values = true)]
    memory_swap: Option<String>,
    #[arg(short, long, hide = true)]
    cpu_shares: Option<i64>,
    #[arg(long, hide = true)]
    cpu_period: Option<i64>,
    #[arg(long, hide = true, allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    #[arg(long, hide = true)]
    cpuset_cpus: Option<String>,
    #[arg(long, hide = true)]
    cpuset_mems: Option<String>,
}

impl UnusedFlags {
    /// One line for each flag that was given and that somebody may count on.
    pub fn notes(&self) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        if let Some(builder) = &self.builder {
            notes.push(format!("--builder {builder}: has no effect, shiplap builds without one"));
        }
        for entitlement in self.allow.iter().flat_map(|all| all.split(',')) {
            match entitlement.split('=').next().unwrap_or_default() {
                // Steps have it without being allowed to.
                "network.host" => {}
                "security.insecure" | "device" => {
                    notes.push(format!("--allow {entitlement}: steps that ask for it are refused all the same"));
                }
                _ => {
                    return Err(wrong("--allow", entitlement, "network.host, security.insecure or device"));
                }
            }
        }
        if self.cgroup_parent.is_some() {
            notes.push("--cgroup-parent: has no effect, steps are in the cgroup that shiplap is in".to_owned());
        }
        if self.debug {
            notes.push("--debug: has no effect, --progress plain shows every line of every step".to_owned());
        }
        notes.extend(self.hidden.notes());
        Ok(notes)
    }
}

impl HiddenFlags {
    fn notes(&self) -> Vec<String> {
        let limits = [
            ("--memory", self.memory.is_some()),
            ("--memory-swap", self.memory_swap.is_some()),
            ("--cpu-shares", self.cpu_shares.is_some()),
            ("--cpu-period", self.cpu_period.is_some()),
            ("--cpu-quota", self.cpu_quota.is_some()),
            ("--cpuset-cpus", self.cpuset_cpus.is_some()),
            ("--cpuset-mems", self.cpuset_mems.is_some()),
        ];
        let others = [
            ("--isolation", self.isolation.is_some(), "steps run in the one sandbox that there is"),
            ("--security-opt", !self.security_opt.is_empty(), "steps run in the one sandbox that there is"),
            ("--squash", self.squash, "a stage that copies out of another has few layers"),
        ];
        let limits = limits.iter().filter(|(_, given)| *given).map(|(flag, _)| {
            format!("{flag}: has no effect, as with BuildKit; `systemd-run --scope` gives a build a cgroup with limits")
        });
        let others = others.iter().filter(|(_, given, _)| *given);
        limits.chain(others.map(|(flag, _, why)| format!("{flag}: has no effect, {why}"))).collect()
    }
}
