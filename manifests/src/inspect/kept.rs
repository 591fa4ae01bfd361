//! What was read of an image is kept beside it: an image never changes, so it is read once.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shiplap_registry::{Images, Of};

use super::InspectError;

/// Counts the changes of what is read, or of how it is told: what another reader kept is read anew.
const READER: u32 = 1;

#[derive(Serialize)]
struct Told<'a, T> {
    reader: u32,
    holds: &'a T,
}

#[derive(Deserialize)]
struct Reader {
    reader: u32,
}

#[derive(Deserialize)]
struct Kept<T> {
    holds: T,
}

/// What was kept of an image, else what `read` reads, which is kept.
pub(super) fn or_read<T: Serialize + DeserializeOwned + PartialEq>(
    images: &Images,
    of: Of,
    about: &str,
    read: impl FnOnce() -> Result<T, InspectError>,
) -> Result<T, InspectError> {
    let known = images.worked_out(&of, about)?;
    if let Some(holds) = known.as_deref().and_then(parse) {
        return Ok(holds);
    }
    let holds = read()?;
    let bytes = serde_json::to_vec(&Told { reader: READER, holds: &holds }).unwrap_or_default();
    // A path that is no text would come back as another one: such an image is read each time.
    if parse(&bytes).as_ref() == Some(&holds) {
        images.keep_worked_out(&of, about, &bytes)?;
    }
    Ok(holds)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let Reader { reader } = serde_json::from_slice(bytes).ok()?;
    let kept = (reader == READER).then(|| serde_json::from_slice::<Kept<T>>(bytes).ok())??;
    Some(kept.holds)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use shiplap_cache::{Digest, Store};
    use shiplap_registry::Image;

    use super::*;
    use crate::contents::tests::layer;
    use crate::inspect::{Facts, Inspection, facts, read};

    fn images(home: &tempfile::TempDir) -> Images {
        Images::new(Arc::new(Store::open(home.path()).unwrap()))
    }

    /// An image with something of everything that is read.
    fn site(images: &Images) -> shiplap_cache::ImageId {
        let files = [
            ("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n"),
            ("var/lib/dpkg/status", "Package: bash\nStatus: install ok installed\nVersion: 5.2\nArchitecture: amd64\n"),
            (
                "openedx/venv/lib/python3.12/site-packages/poll-1.0.dist-info/METADATA",
                "Name: poll\nVersion: 1.0\nLicense: MIT\n",
            ),
            (
                "openedx/venv/lib/python3.12/site-packages/poll-1.0.dist-info/entry_points.txt",
                "[xblock.v1]\npoll = poll:Poll\n",
            ),
            (
                "openedx/venv/lib/python3.12/site-packages/plug-2.dist-info/direct_url.json",
                r#"{"url": "file:///openedx/plug", "dir_info": {"editable": true}}"#,
            ),
            ("openedx/venv/lib/python3.12/site-packages/plug-2.dist-info/METADATA", "Name: plug\nVersion: 2\n"),
            ("openedx/plug/plug/migrations/__init__.py", ""),
            ("openedx/plug/plug/migrations/0001_initial.py", "x"),
            ("openedx/edx-platform/lms/envs/common.py", "A = 1\n"),
            ("openedx/edx-platform/lms/djangoapps/a/migrations/__init__.py", ""),
            ("openedx/edx-platform/lms/djangoapps/a/migrations/0001_initial.py", "x"),
            ("openedx/edx-platform/node_modules/react/package.json", r#"{"name": "react", "version": "18.0.0"}"#),
            ("openedx/edx-platform/conf/locale/uk/LC_MESSAGES/django.mo", "x"),
            ("openedx/themes/campus/lms/static/a.css", "red"),
            ("openedx/themes/campus/lms/static/b.css", "->a.css"),
            ("var/lib/dpkg/status.d/broken", "Package: x\nno field\n"),
        ];
        let layers = vec![layer(images.store(), &files)];
        images.save(&Image { layers, ..Image::default() }).unwrap()
    }

    #[test]
    fn an_image_is_read_once_and_another_reader_reads_it_again() {
        let home = tempfile::tempdir().unwrap();
        let images = images(&home);
        let of = Of::Manifest(Digest::of(b"x"));
        let times = Cell::new(0);
        let ask = || {
            or_read(&images, of, "x", || {
                times.set(times.get() + 1);
                Ok("seen".to_owned())
            })
            .unwrap()
        };
        assert_eq!((ask(), ask(), times.get()), ("seen".to_owned(), "seen".to_owned(), 1));
        let older = serde_json::to_vec(&Told { reader: READER - 1, holds: &"old" }).unwrap();
        for other in [&older[..], b"no JSON"] {
            images.keep_worked_out(&of, "x", other).unwrap();
            let before = times.get();
            assert_eq!((ask(), times.get()), ("seen".to_owned(), before + 1));
        }
        let failed = || Err::<String, _>(InspectError::Image(shiplap_registry::Error::Exists("x".into())));
        or_read(&images, of, "y", failed).unwrap_err();
        assert_eq!(images.worked_out(&of, "y").unwrap(), None);
    }

    #[test]
    fn everything_that_is_read_comes_back_as_it_was() {
        let home = tempfile::tempdir().unwrap();
        let images = images(&home);
        let id = site(&images);
        let first = read(&images, Some(&id), None).unwrap();
        let holds = |i: &Inspection| {
            let found = (i.contents.packages.len(), i.entry_points.len(), i.themes.len(), i.plugins.len());
            (found, i.settings.is_some(), i.locales.len(), i.migrations.0.len(), i.contents.not_read.len())
        };
        assert_eq!(holds(&first), ((4, 1, 1, 1), true, 1, 2, 1), "{first:#?}");
        let kept = images.worked_out(&Of::Image(id), "inspection").unwrap().expect("it is kept");
        assert_eq!(parse::<Inspection>(&kept).as_ref(), Some(&first));
        assert_eq!(read(&images, Some(&id), None).unwrap(), first);
        let told = facts(&images, &id, &Digest::of(b"x"), None).unwrap();
        let kept = images.worked_out(&Of::Image(id), "facts").unwrap().expect("they are kept");
        assert_eq!(parse::<Facts>(&kept), Some(told));
    }

    /// When this fails, the reader reads something else than before: count [`READER`] up, and write the new hash here.
    #[test]
    fn what_this_reader_reads_is_known() {
        let home = tempfile::tempdir().unwrap();
        let images = images(&home);
        let id = site(&images);
        let mut all = (read(&images, Some(&id), None).unwrap(), facts(&images, &id, &Digest::of(b"x"), None).unwrap());
        // Their names depend on who runs the test.
        all.0.sizes.layers.clear();
        let hash = shiplap_cache::ContentHash::of(&serde_json::to_vec(&all).unwrap());
        assert_eq!((READER, hash.short().as_str()), (1, "d08de4cee700"));
    }
}
