//! `shiplap key`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use shiplap_cache::durable::DurableFile;
use shiplap_registry::signature::PrivateKey;

use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use crate::output;
use crate::supply::keys::{PASSWORD, password};

/// Make a pair of keys to sign images with
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Write NAME.key and NAME.pub: ECDSA on P-256, as `cosign generate-key-pair` makes it
    ///
    /// With a password in COSIGN_PASSWORD the private key is encrypted in cosign's own form. Without one only the rights of the
    /// file, 0600, protect it. Files that are there stay as they are.
    Generate {
        /// Where, without the ending
        #[arg(default_value = "shiplap", value_name = "NAME")]
        name: PathBuf,
    },
}

pub fn run(_: &App, args: &Args) -> Result<ExitCode> {
    let What::Generate { name } = &args.what;
    let with = |ending: &str| PathBuf::from(format!("{}.{ending}", name.display()));
    let (private, public) = (with("key"), with("pub"));
    for path in [&private, &public] {
        if path.symlink_metadata().is_ok() {
            return Err(Failure::new(Kind::Refused, format!("{} is there already", path.display()))
                .hint("a key that is lost cannot sign again: move it away first, or name another"));
        }
    }
    let failed = |error: &dyn std::error::Error| Failure::of(Kind::Failed, error);
    let key = PrivateKey::generate().map_err(|e| failed(&e))?;
    let password = password().filter(|password| !password.is_empty());
    let encrypted = password.is_some();
    write(&private, &key.to_pem(password.as_deref()).map_err(|e| failed(&e))?, false)?;
    write(&public, &key.public().to_pem(), true)?;
    output::line(&format!("{}  the private key: keep it where only you are", private.display()));
    output::line(&format!("{}  the public key: give it to whoever deploys", public.display()));
    if !encrypted {
        output::line(&format!("the private key is not encrypted; with a password in {PASSWORD} it is"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that is there whole or not at all, for its owner alone or for everybody.
fn write(path: &Path, text: &str, for_all: bool) -> Result<()> {
    let failed = |e: std::io::Error| Failure::new(Kind::Failed, format!("cannot write {}: {e}", path.display()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = DurableFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    let file = if for_all { file.for_people().map_err(failed)? } else { file };
    file.persist(path).map_err(failed)
}
