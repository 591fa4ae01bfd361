//! Resource limits by Docker's names (`docker build --ulimit`).

use rustix::process::{Resource, Rlimit, setrlimit};

use super::error::{Doing, Failure};
use super::spec::Ulimit;

pub(super) fn apply(limits: &[Ulimit]) -> Result<(), Failure> {
    for limit in limits {
        let resource = resource(&limit.name).ok_or_else(|| {
            Failure::new(
                format!("setting the limit {:?}", limit.name),
                "there is no such limit; known are core, cpu, data, fsize, locks, memlock, msgqueue, \
                 nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack",
            )
        })?;
        let value = Rlimit { current: limit.soft, maximum: limit.hard };
        setrlimit(resource, value).doing(|| format!("setting the limit {}", limit.name))?;
    }
    Ok(())
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}
