//! `EXPOSE`.

use super::error::Fault;

/// `8000-8002/udp` to `8000/udp`, `8001/udp`, `8002/udp`. As in BuildKit, a host part before a colon is read and dropped.
pub(crate) fn parse(text: &str) -> Result<Vec<String>, Fault> {
    let bad = |why: &str| Fault::new(format!("EXPOSE {text}: {why}")).hint("write PORT, FIRST-LAST or PORT/udp");
    let container = text.rsplit(':').next().unwrap_or(text);
    let (ports, protocol) = container.split_once('/').unwrap_or((container, ""));
    let protocol = match protocol.to_lowercase().as_str() {
        "" | "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        other => return Err(bad(&format!("{other:?} is not a protocol"))),
    };
    let number = |text: &str| text.parse::<u16>().map_err(|_| bad(&format!("{text:?} is not a port")));
    let (first, last) = match ports.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(ports)?, number(ports)?),
    };
    if last < first {
        return Err(bad("the range goes backwards"));
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_ranges_and_protocols() {
        assert_eq!(parse("80").unwrap(), ["80/tcp"]);
        assert_eq!(parse("53/UDP").unwrap(), ["53/udp"]);
        assert_eq!(parse("7000-7002/tcp").unwrap(), ["7000/tcp", "7001/tcp", "7002/tcp"]);
        assert_eq!(parse("8080:80").unwrap(), ["80/tcp"]);
        for text in ["x", "70000", "3-1", "80/http", "/tcp", ""] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
