//! Resource limits by Docker's names (`docker build --ulimit`).

use std::str::FromStr;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::error::{Doing, Failure};
use super::spec::Ulimit;

const LIMITS: [(&str, Resource); 15] = [
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// A limit that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UlimitError {
    /// It is not `NAME=SOFT[:HARD]`.
    #[error("write it as NAME=SOFT[:HARD], numbers or -1 for unlimited")]
    Form,
    /// Nothing is limited by this name.
    #[error("there is no limit `{0}`; known are {names}", names = names())]
    Name(String),
    /// More is in force than may be.
    #[error("the soft limit is above the hard one")]
    Order,
}

fn names() -> String {
    LIMITS.map(|(name, _)| name).join(", ")
}

fn resource(name: &str) -> Option<Resource> {
    LIMITS.iter().find(|(known, _)| *known == name).map(|(_, resource)| *resource)
}

impl FromStr for Ulimit {
    type Err = UlimitError;

    /// As docker/go-units `ParseUlimit`: without a hard limit it is the soft one.
    fn from_str(text: &str) -> Result<Self, UlimitError> {
        let (name, limits) = text.split_once('=').ok_or(UlimitError::Form)?;
        if resource(name).is_none() {
            return Err(UlimitError::Name(name.to_owned()));
        }
        let number = |text: &str| match text {
            "-1" => Ok(None),
            digits => digits.parse().map(Some).map_err(|_| UlimitError::Form),
        };
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let limit = Ulimit { name: name.to_owned(), soft: number(soft)?, hard: number(hard)? };
        let above = match (limit.soft, limit.hard) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(soft), Some(hard)) => soft > hard,
        };
        if above { Err(UlimitError::Order) } else { Ok(limit) }
    }
}

pub(super) fn apply(limits: &[Ulimit]) -> Result<(), Failure> {
    for limit in limits {
        let resource = resource(&limit.name).ok_or_else(|| {
            let why = format!("there is no such limit; known are {}", names());
            Failure::new(format!("setting the limit {:?}", limit.name), &why)
        })?;
        let value = Rlimit { current: limit.soft, maximum: limit.hard };
        setrlimit(resource, value).doing(|| format!("setting the limit {}", limit.name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_as_docker_writes_them() {
        for (text, soft, hard) in [
            ("nofile=1024", Some(1024), Some(1024)),
            ("nofile=1024:4096", Some(1024), Some(4096)),
            ("core=-1", None, None),
            ("core=0:-1", Some(0), None),
        ] {
            let limit: Ulimit = text.parse().unwrap();
            assert_eq!((limit.soft, limit.hard), (soft, hard), "{text}");
        }
        for (text, error) in [
            ("nofile", UlimitError::Form),
            ("nofile=", UlimitError::Form),
            ("nofile=1:2:3", UlimitError::Form),
            ("nofile=-2", UlimitError::Form),
            ("files=1", UlimitError::Name("files".into())),
            ("nofile=2:1", UlimitError::Order),
            ("nofile=-1:1", UlimitError::Order),
        ] {
            assert_eq!(text.parse::<Ulimit>(), Err(error), "{text}");
        }
    }
}
