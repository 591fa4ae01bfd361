//! `EXPOSE`, with the checks of BuildKit's `convert_expose.go`.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::error::Fault;

/// What one word of `EXPOSE` names, and what is odd about how it does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ports {
    /// `80/tcp`
    pub(crate) names: Vec<String>,
    /// The protocol is not in lower case.
    pub(crate) cased: bool,
    /// An address or a port of the host stands before it. Docker reads and drops both.
    pub(crate) mapped: bool,
}

/// `8000-8002/udp` to `8000/udp`, `8001/udp`, `8002/udp`.
pub(crate) fn parse(text: &str) -> Result<Ports, Fault> {
    let bad = |why: String| Fault::new(format!("EXPOSE {text}: {why}")).hint("write PORT, FIRST-LAST or PORT/udp");
    let (address, host, container) = split(text);
    let (ports, written) = container.split_once('/').unwrap_or((container, ""));
    let protocol = match written.to_lowercase().as_str() {
        _ if ports.is_empty() => return Err(bad("there is no port".to_owned())),
        "" => "tcp",
        "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        other => return Err(bad(format!("{other:?} is not a protocol"))),
    };
    let bare = address.strip_prefix('[').map_or(Some(address), |rest| rest.strip_suffix(']'));
    if !address.is_empty() && bare.is_none_or(|address| address.parse::<IpAddr>().is_err()) {
        return Err(bad(format!("{address:?} is not an address")));
    }
    let container = range(ports).map_err(bad)?;
    if !host.is_empty() {
        let host = range(host).map_err(bad)?;
        let width = |range: &RangeInclusive<u16>| range.end() - range.start();
        if width(&host) != width(&container) && width(&container) != 0 {
            return Err(bad("the ranges of the host and of the container differ in length".to_owned()));
        }
    }
    Ok(Ports {
        names: container.map(|port| format!("{port}/{protocol}")).collect(),
        cased: written != written.to_lowercase(),
        mapped: !address.is_empty() || !host.is_empty(),
    })
}

/// `[[address:]host:]container`
fn split(text: &str) -> (&str, &str, &str) {
    let (rest, container) = text.rsplit_once(':').unwrap_or(("", text));
    let (address, host) = rest.rsplit_once(':').unwrap_or(("", rest));
    (address, host, container)
}

fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let number = |text: &str| {
        // Go's ParseInt takes a sign.
        let number = text.parse::<i64>().ok().and_then(|n| u16::try_from(n).ok());
        number.ok_or_else(|| format!("{text:?} is not a port"))
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if last < first { Err("the range goes backwards".to_owned()) } else { Ok(first..=last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of it seen with Docker 28.5.
    #[test]
    fn ports_ranges_protocols_and_what_stands_before() {
        let names = |text| parse(text).map(|ports| ports.names);
        for (text, want) in [
            ("80", &["80/tcp"][..]),
            ("80/", &["80/tcp"]),
            ("+80", &["80/tcp"]),
            ("0", &["0/tcp"]),
            (":80", &["80/tcp"]),
            ("53/UDP", &["53/udp"]),
            ("80-80", &["80/tcp"]),
            ("7000-7002/tcp", &["7000/tcp", "7001/tcp", "7002/tcp"]),
            ("8080:80", &["80/tcp"]),
            ("80-82:80", &["80/tcp"]),
            ("80-82:80-82", &["80/tcp", "81/tcp", "82/tcp"]),
            ("1.2.3.4:80:80", &["80/tcp"]),
            ("127.0.0.1::80", &["80/tcp"]),
            ("[::1]:80:80", &["80/tcp"]),
        ] {
            assert_eq!(names(text).unwrap(), want, "{text}");
        }
        for text in [
            "x",
            "70000",
            "65536",
            "3-1",
            "80/http",
            "/tcp",
            "",
            "80:",
            "x:80",
            "999.1.1.1:80:80",
            "[::1:80:80",
            "80-90:1-2",
            "-1",
            "1_0",
            "0x10",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let odd = |text| parse(text).map(|ports| (ports.cased, ports.mapped)).unwrap();
        assert_eq!(
            [odd("80"), odd("80/TCP"), odd(":80"), odd("1:80"), odd("::1::80")],
            [(false, false), (true, false), (false, false), (false, true), (false, true)]
        );
    }
}
