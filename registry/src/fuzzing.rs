//! What the fuzz target `tar` in `fuzz/` does with its bytes. It takes any, and panics only where something is wrong with this crate.

use std::path::Path;

use shiplap_cache::Overlay;

use crate::tarball::Reader;
use crate::unpack;

/// A tar is unpacked below a folder or refused, and nothing beside that folder is touched. `room` is an empty folder for that.
pub fn tar(data: &[u8], room: &Path) {
    // Reading alone goes on where unpacking stops.
    let mut reader = Reader::new(data);
    while let Ok(Some(_)) = reader.next() {}
    let (upper, outside) = (room.join("upper"), room.join("outside"));
    let made = std::fs::create_dir(&upper).and_then(|()| std::fs::create_dir(&outside));
    made.and_then(|()| std::fs::write(outside.join("file"), "safe")).expect("a room to unpack in");
    let _ = unpack::unpack(data, &upper, Overlay::detect());
    let names = |folder: &Path| {
        let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    };
    assert_eq!(names(room), ["outside", "upper"]);
    assert_eq!(names(&outside), ["file"]);
    assert_eq!(std::fs::read(outside.join("file")).expect("the file"), b"safe");
    let metadata = std::fs::symlink_metadata(outside.join("file")).expect("the file");
    assert_eq!(std::os::unix::fs::MetadataExt::nlink(&metadata), 1);
}
