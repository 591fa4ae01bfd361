//! `COPY --parents`. Docker 28's own frontend does not have it, so what is expected here is what BuildKit's source and its test
//! `testCopyRelativeParents` say.

use std::os::unix::fs::PermissionsExt;

use crate::common::Home;

/// The package files of a monorepo, at any depth, arrive with their folders and nothing else.
#[test]
fn package_files_of_any_depth_keep_their_folders() {
    let home = Home::with_base();
    for path in ["package.json", "a/package.json", "a/index.js", "a/deep/er/package.json", "b/README.md"] {
        home.write(path, path);
    }
    home.write(".dockerignore", "Dockerfile\n");
    home.build("app:1", "FROM base:1\nCOPY --parents --exclude=a/deep ./**/package.json /app/\n", &[]);
    let files = home.files("app:1");
    let names: Vec<_> = files.keys().filter_map(|path| path.strip_prefix("app/")).filter(|n| !n.is_empty()).collect();
    assert_eq!(names, ["a/", "a/package.json", "package.json"]);

    let dockerfile = "FROM base:1 AS one\nRUN mkdir -p /x/v1/bin /x/v2/lib/bin && touch /x/v1/bin/one /x/v2/lib/bin/two\n\
        FROM base:1\nCOPY --from=one --parents /x/v*/./**/bin/ /out\n";
    home.build("app:1", dockerfile, &[]);
    let files = home.files("app:1");
    let names: Vec<_> = files.keys().filter_map(|path| path.strip_prefix("out/")).filter(|n| !n.is_empty()).collect();
    assert_eq!(names, ["bin/", "bin/one", "lib/", "lib/bin/", "lib/bin/two"]);
}

/// A folder on the way is made as it is where it comes from; one that is there keeps its owner and gets the mode.
#[test]
fn folders_on_the_way_look_as_they_did() {
    let home = Home::with_base();
    for (folder, mode) in [("new", 0o750), ("old", 0o711)] {
        let file = home.write(&format!("{folder}/file"), folder);
        std::fs::set_permissions(file.parent().unwrap(), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let dockerfile = "FROM base:1\nRUN mkdir -p /app/old && chown 7:8 /app/old\nCOPY --parents new/file old/fil? /app/\n\
        RUN stat -c '%n %a %u:%g' /app/new /app/old /app/old/file >/seen\n";
    home.build("app:1", dockerfile, &[]);
    assert_eq!(home.file("app:1", "seen"), "/app/new 750 0:0\n/app/old 711 7:8\n/app/old/file 644 0:0\n");
}
