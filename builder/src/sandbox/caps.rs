//! The capabilities of a step: the ones that Docker grants (moby, `oci/caps/defaults.go`).

use rustix::io::{Errno, Result};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
};

const GRANTED: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Takes everything else out of the bounding set, for this process and all that it executes. Goes on
/// beyond the capabilities known today: a kernel says where its list ends.
pub(super) fn bound() -> Result<()> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if GRANTED.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            Err(Errno::INVAL) => break,
            result => result?,
        }
    }
    clear_ambient_capability_set()
}

/// Sets what the process itself holds: the granted ones as root, none as another user. Inheritable is
/// empty for both, as in Docker since CVE-2022-24769.
pub(super) fn hold(root: bool) -> Result<()> {
    let held = if root { GRANTED } else { CapabilitySet::empty() };
    set_capabilities(None, CapabilitySets { effective: held, permitted: held, inheritable: CapabilitySet::empty() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_is_dockers() {
        // CapBnd in /proc/self/status of a step built by Docker 28.
        assert_eq!(GRANTED.bits(), 0xa804_25fb);
    }
}
