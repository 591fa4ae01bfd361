//! `--attest`, `--sbom`, `--provenance`: documents that are attached to the image, in the spelling of `docker buildx build`
//! (buildx, `util/buildflags/attests.go`).

use shiplap_manifests::provenance::Detail;

use super::fields::fields;
use super::flags::wrong;
use crate::cli::go_bool;
use crate::failure::{Failure, Kind, Result};
use crate::supply::Wanted;

/// Which documents are made.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output options")]
pub struct AttestFlags {
    /// Attach a document to the image: type=sbom or type=provenance[,mode=min|max][,builder-id=URL]
    #[arg(long, value_name = "SPEC")]
    attest: Vec<String>,
    /// The same as --attest type=provenance: how the image was built, with mode=max the values of arguments and each step too
    #[arg(long, value_name = "BOOL|mode=MODE")]
    provenance: Option<String>,
    /// The same as --attest type=sbom: which packages are in the image
    #[arg(long, value_name = "BOOL")]
    sbom: Option<String>,
}

impl AttestFlags {
    /// What is asked for. The short forms go before the long one, as in buildx.
    pub fn wanted(&self) -> Result<Wanted> {
        let mut wanted = Wanted::default();
        for text in &self.attest {
            let mut all = fields("--attest", text)?;
            let kind = all.iter().position(|(key, _)| key == "type").map(|at| all.remove(at).1);
            match kind.as_deref() {
                Some("provenance") => provenance(&mut wanted, "--attest", text, &all)?,
                Some("sbom") => wanted.sbom = enabled("--attest", text, &all)?,
                _ => {
                    return Err(Failure::new(
                        Kind::Usage,
                        format!("--attest {text}: expected type=provenance or type=sbom"),
                    ));
                }
            }
        }
        if let Some(text) = &self.provenance {
            provenance(&mut wanted, "--provenance", text, &short("--provenance", text)?)?;
        }
        if let Some(text) = &self.sbom {
            wanted.sbom = enabled("--sbom", text, &short("--sbom", text)?)?;
        }
        Ok(wanted)
    }
}

/// A value that may be a word instead of fields.
fn short(flag: &str, text: &str) -> Result<Vec<(String, String)>> {
    if text.contains('=') {
        return fields(flag, text);
    }
    let on = go_bool(text).map_err(|_| wrong(flag, text, "true, false or KEY=VALUE,KEY=VALUE"))?;
    Ok(vec![("disabled".to_owned(), (!on).to_string())])
}

fn provenance(wanted: &mut Wanted, flag: &str, text: &str, all: &[(String, String)]) -> Result<()> {
    let mode = all.iter().rfind(|(key, _)| key == "mode").map(|(_, mode)| mode.as_str());
    let detail = match mode {
        None | Some("min") => Detail::Min,
        Some("max") => Detail::Max,
        Some(_) => return Err(wrong(flag, text, "mode=min or mode=max")),
    };
    wanted.provenance = enabled(flag, text, all)?.then_some(detail);
    wanted.builder = all.iter().rfind(|(key, _)| key == "builder-id").map(|(_, id)| id.clone());
    Ok(())
}

fn enabled(flag: &str, text: &str, all: &[(String, String)]) -> Result<bool> {
    match all.iter().rfind(|(key, _)| key == "disabled") {
        None => Ok(true),
        Some((_, value)) => go_bool(value).map(|off| !off).map_err(|_| wrong(flag, text, "disabled=true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(attest: &[&str], provenance: Option<&str>, sbom: Option<&str>) -> Result<Wanted> {
        let text = |text: &str| text.to_owned();
        let attest = attest.iter().copied().map(text).collect();
        AttestFlags { attest, provenance: provenance.map(text), sbom: sbom.map(text) }.wanted()
    }

    #[test]
    fn both_spellings_ask_for_the_same() {
        let nothing = Wanted::default();
        assert_eq!(wanted(&[], None, None).unwrap(), nothing);
        assert_eq!(wanted(&["type=sbom,disabled=true"], Some("false"), Some("0")).unwrap(), nothing);
        let both = Wanted { sbom: true, provenance: Some(Detail::Max), builder: None };
        assert_eq!(wanted(&["type=sbom", "type=provenance,mode=max"], None, None).unwrap(), both);
        assert_eq!(wanted(&[], Some("mode=max"), Some("true")).unwrap(), both);
        assert_eq!(wanted(&["type=sbom"], Some("mode=max"), None).unwrap(), both);
        let id = wanted(&[], Some("mode=min,builder-id=https://ci.example.org"), None).unwrap();
        assert_eq!((id.provenance, id.builder.as_deref()), (Some(Detail::Min), Some("https://ci.example.org")));
        // A generator is an image that scans; here the store does.
        assert!(wanted(&[], None, Some("generator=docker/scout")).unwrap().sbom);
    }

    #[test]
    fn what_buildx_would_not_take_is_refused() {
        for (attest, provenance) in [
            (&["type=vex"][..], None),
            (&["mode=max"], None),
            (&[], Some("maybe")),
            (&[], Some("mode=all")),
            (&[], Some("disabled=perhaps")),
        ] {
            assert!(wanted(attest, provenance, None).is_err(), "{attest:?} {provenance:?}");
        }
    }
}
