//! `--secret`.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt;

use super::fields::fields;
use super::flags::wrong;
use crate::failure::{Failure, Kind, Result};

/// Where a secret comes from, in buildx's words.
#[derive(Debug, PartialEq, Eq)]
struct Spec {
    id: String,
    file: Option<String>,
    env: Option<String>,
}

impl Spec {
    fn parse(text: &str) -> Result<Self> {
        const KEYS: &str = "id=ID[,type=file|env][,src=FILE|,env=NAME]";
        let wrong = || wrong("--secret", text, KEYS);
        let (mut id, mut file, mut env, mut of_env) = (None, None, None, false);
        for (key, value) in fields("--secret", text)? {
            match (key.as_str(), value.as_str()) {
                ("type", "file" | "env") => of_env = value == "env",
                ("type", other) => {
                    return Err(Failure::new(Kind::Usage, format!("--secret {text}: there is no type `{other}`"))
                        .hint("it is file or env"));
                }
                ("id", _) => id = Some(value),
                ("src" | "source", _) => file = Some(value),
                ("env", _) => env = Some(value),
                _ => {
                    return Err(Failure::new(Kind::Usage, format!("--secret {text}: there is no key `{key}`"))
                        .hint(format!("expected {KEYS}")));
                }
            }
        }
        // With type=env the source is the name of a variable.
        if of_env && env.is_none() {
            env = file.take();
        }
        let id = id.filter(|id| !id.is_empty()).ok_or_else(wrong)?;
        Ok(Self { id, file, env })
    }

    fn value(&self) -> Result<Vec<u8>> {
        let id = &self.id;
        match (&self.env, &self.file) {
            // As in BuildKit the variable goes before the file.
            (Some(name), _) => environment(id, name),
            (None, Some(file)) => std::fs::read(file)
                .map_err(|e| Failure::new(Kind::Missing, format!("cannot read the secret {id} from {file}: {e}"))),
            // A bare id is the variable of that name, else the file.
            (None, None) => match std::env::var_os(id) {
                Some(value) => Ok(value.into_vec()),
                None => std::fs::read(id).map_err(|_| {
                    Failure::new(Kind::Missing, format!("the secret {id}: neither a variable nor a file has that name"))
                }),
            },
        }
    }
}

/// The file and the variable that a secret may come from.
pub fn place(text: &str) -> Result<(Option<String>, Option<String>)> {
    let Spec { id, file, env } = Spec::parse(text)?;
    Ok(match (file, env) {
        (_, Some(name)) => (None, Some(name)),
        (Some(file), None) => (Some(file), None),
        (None, None) if std::env::var_os(&id).is_some() => (None, Some(id)),
        (None, None) => (Some(id), None),
    })
}

/// The values of secrets by id.
pub fn read(specs: &[String]) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut secrets = BTreeMap::new();
    for text in specs {
        let spec = Spec::parse(text)?;
        secrets.insert(spec.id.clone(), spec.value()?);
    }
    Ok(secrets)
}

/// A secret in a variable.
pub fn environment(id: &str, name: &str) -> Result<Vec<u8>> {
    let missing = || Failure::new(Kind::Missing, format!("the secret {id}: the variable {name} is not set"));
    Ok(std::env::var_os(name).ok_or_else(missing)?.into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows are those of buildx, `util/buildflags/secrets_test.go` and `secrets.go`.
    #[test]
    fn specs_are_read_as_buildx_does() {
        for (text, id, file, env) in [
            ("id=a", "a", None, None),
            ("id=a,src=f", "a", Some("f"), None),
            ("id=a,source=f", "a", Some("f"), None),
            ("type=file,id=a,src=f", "a", Some("f"), None),
            ("id=a,env=V", "a", None, Some("V")),
            ("id=a,type=env,src=V", "a", None, Some("V")),
            ("type=env,id=a,source=f,env=V", "a", Some("f"), Some("V")),
            ("ID=a,\"src=f,g\"", "a", Some("f,g"), None),
        ] {
            let spec = Spec { id: id.into(), file: file.map(Into::into), env: env.map(Into::into) };
            assert_eq!(Spec::parse(text).unwrap(), spec, "{text}");
        }
        for text in ["src=f", "id=", "id=a,type=vault", "id=a,mode=0400", "id=a,src", "a"] {
            assert!(Spec::parse(text).is_err(), "{text}");
        }
    }
}
