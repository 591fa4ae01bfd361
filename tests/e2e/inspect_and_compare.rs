//! `inspect` and `diff`: what releases hold, and what changed between them.

use std::fs;

use serde_json::{Value, json};

use crate::common::Home;
use crate::edx::Edx;

fn names(all: &Value, wanted: impl Fn(&Value) -> bool) -> Vec<&str> {
    all.as_array().unwrap().iter().filter(|one| wanted(one)).map(|one| one["name"].as_str().unwrap()).collect()
}

/// How many images are known by what was read of them before.
fn kept(home: &Home) -> usize {
    let database = rusqlite::Connection::open(home.store().join("cache.db")).unwrap();
    let count = "SELECT count(*) FROM names WHERE space = 'worked-out' AND name LIKE '%/inspection'";
    database.query_row(count, [], |row| row.get(0)).unwrap()
}

/// Takes away what was read of images before.
fn forget(home: &Home) {
    let database = rusqlite::Connection::open(home.store().join("cache.db")).unwrap();
    assert!(database.execute("DELETE FROM names WHERE space = 'worked-out'", []).unwrap() > 0);
}

/// The image `openedx` of what `inspect --json` prints.
fn openedx(home: &Home, what: &str) -> Value {
    let all = home.json(&["inspect", what, "--image", "openedx"]);
    all["images"][0].clone()
}

#[test]
fn a_release_is_inspected_compared_and_still_known_when_only_its_blobs_are_left() {
    let edx = Edx::new();
    let home = &edx.home;
    edx.release("1.0.0");
    let image = openedx(home, "campus@1.0.0");

    let python = |package: &str| {
        let all = image["packages"].as_array().unwrap();
        all.iter().find(|one| one["manager"] == "python" && one["name"] == package).cloned().unwrap()
    };
    assert_eq!((&python("xblock_poll")["version"], &python("xblock_poll")["source"]), (&json!("1.9.0"), &Value::Null));
    assert_eq!(python("forum")["source"]["kind"], "git");
    assert_eq!(python("forum")["source"]["commit"].as_str().unwrap().len(), 40);
    assert_eq!(
        python("badges")["source"],
        json!({"kind": "local", "path": "/openedx/plugins/badges", "editable": true})
    );
    assert_eq!(names(&image["packages"], |one| one["manager"] == "npm"), ["react"]);
    assert_eq!(names(&image["packages"], |one| one["manager"] == "debian"), ["libc6"]);
    assert_eq!(image["platform"]["release"], "ulmo");
    assert_eq!(image["platform"]["commit"], "0123456789".repeat(4));
    assert_eq!(names(&image["entry_points"], |_| true), ["badges", "poll"]);
    assert_eq!(names(&image["themes"], |_| true), ["indigo"]);
    assert_eq!(names(&image["plugins"], |_| true), ["badges"]);
    assert!(image["plugins"][0]["files"]["badges/__init__.py"].is_string(), "{image}");
    assert_eq!(image["migrations"], json!({"badges": ["0001_initial"], "student": ["0001_squashed"]}));
    assert_eq!(image["locales"][0], json!({"folder": "/openedx/edx-platform/conf/locale", "languages": ["fr"]}));
    assert!(!image.to_string().contains("hunter2"));
    let sizes = &image["sizes"];
    assert_eq!(sizes["layers"][1]["step"].as_str().unwrap().split(' ').next(), Some("COPY"));
    let blobs: u64 =
        sizes["layers"].as_array().unwrap().iter().map(|layer| layer["compressed"].as_u64().unwrap()).sum();
    assert_eq!(sizes["compressed"].as_u64().unwrap(), blobs + sizes["documents"].as_u64().unwrap());
    let sum = |field: &str| {
        sizes["categories"].as_object().unwrap().values().map(|c| c[field].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(
        (sum("bytes"), sum("files")),
        (sizes["visible"]["bytes"].as_u64().unwrap(), sizes["visible"]["files"].as_u64().unwrap())
    );
    assert_eq!(image["not_read"], json!([]));
    let text = home.run(["inspect", "campus"]).ok();
    let text = text.says("20.0.1").says("indigo mfe").says("ulmo").says("xblock_poll").says("python requirements");
    assert!(!text.out.contains("hunter2"));
    let one =
        home.run(["inspect", "campus", "--image", "openedx", "--section", "migrations"]).ok().says("0001_squashed");
    assert!(!one.out.contains("xblock_poll"));

    // The next release: one package up, one away, one from another commit; a theme, a plugin, a setting, a migration.
    edx.wheels(&[("xblock_poll", "1.10.0", "[xblock.v1]\npoll = xblock_poll:Poll\nsurvey = xblock_poll:Survey\n")]);
    for gone in ["gone_soon", "gone_soon-1.0.dist-info"] {
        fs::remove_dir_all(edx.site_packages().join(gone)).unwrap();
    }
    edx.debian("2.36-9+deb12u10");
    edx.put("openedx/themes/indigo/lms/static/sass/_a.scss", "blue");
    fs::remove_file(edx.image_path("openedx/themes/indigo/lms/templates/a.html")).unwrap();
    edx.put("openedx/edx-platform/lms/envs/common.py", "PLATFORM_NAME = 'y'\nSECRET_KEY = 'hunter3'\n");
    edx.put("openedx/edx-platform/conf/locale/de/LC_MESSAGES/django.po", "");
    edx.badges(&["0002_colour"]);
    home.write("tutor/env/version", "20.0.2\n");
    edx.release("1.1.0");
    let diff = home.json(&["diff", "campus@1.0.0", "campus@1.1.0"]);
    assert_eq!(diff["different"], true);
    let changes = &diff["images"][1]["changes"];
    let packages: Vec<(&str, &str)> = changes["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["direction"].as_str().unwrap()))
        .collect();
    assert_eq!(packages, [("libc6", "up"), ("gone_soon", "removed"), ("xblock_poll", "up")]);
    assert_eq!(names(&changes["entry_points_added"], |_| true), ["survey"]);
    assert_eq!(
        changes["themes"],
        json!([{"name": "indigo", "files": [
            {"path": "lms/static/sass/_a.scss", "what": "changed"}, {"path": "lms/templates/a.html", "what": "removed"}]}])
    );
    assert_eq!(changes["plugins"][0]["files"], json!([{"path": "badges/migrations/0002_colour.py", "what": "added"}]));
    assert_eq!(changes["settings"], json!([{"path": "/openedx/edx-platform/lms/envs/common.py", "what": "changed"}]));
    assert_eq!(changes["migrations_added"], json!({"badges": ["0002_colour"]}));
    assert_eq!(changes["migrations_removed"], json!({}));
    assert_eq!(changes["locales"][0]["added"], json!(["de"]));
    assert_eq!(diff["images"][1]["facts"]["tutor"], json!({"before": "20.0.1", "after": "20.0.2"}));
    // Of the other image nothing but the version of Tutor that it was built with.
    assert_eq!(diff["images"][0]["changes"]["layers"]["pull"], 0);
    let pull: u64 =
        changes["layers"]["after"].as_array().unwrap().iter().map(|layer| layer["compressed"].as_u64().unwrap()).sum();
    let documents = openedx(home, "campus@1.1.0")["sizes"]["documents"].as_u64().unwrap();
    assert_eq!(changes["layers"]["pull"].as_u64().unwrap(), pull + documents);

    // Three ways to say it, and back again.
    let text = home.run(["diff", "campus@1.0.0", "campus@1.1.0"]).ok().says("badges  0002_colour").out;
    assert_eq!(home.run(["diff", "campus", "1.0.0", "1.1.0"]).ok().out, text);
    assert_eq!(home.run(["diff", "campus", "1.0.0"]).ok().out, text);
    let back = home.json(&["diff", "campus", "1.1.0", "1.0.0"]);
    assert_eq!(back["images"][1]["changes"]["packages"][2]["direction"], "down");
    let markdown = home.run(["diff", "campus", "1.0.0", "1.1.0", "--format", "markdown"]).ok();
    let markdown = markdown.says("<details><summary>Packages (3)</summary>").says("| up | 1.9.0 | 1.10.0 |");
    assert!(!(markdown.out + &text).contains("hunter"));
    home.run(["diff", "campus", "1.0.0", "1.1.0", "--exit-code"]).ends_with(1);
    home.run(["diff", "campus", "1.0.0", "1.0.0", "--exit-code"]).ok().says("the same");
    home.run(["diff", "campus", "1.0.0", "9.0.0"]).ends_with(4);
    home.run(["diff", "none", "1.0.0", "1.1.0"]).ends_with(4).says("none");
    home.run(["inspect", "campus", "--image", "x"]).ends_with(2).says("openedx");
    home.run(["inspect", "none:1"]).ends_with(4).says("none:1");

    // What was read is kept: asked again, nothing is read.
    assert_eq!(kept(home), 3, "two of one image and one that both releases share");
    // The layers go, as a collection with a budget takes them; the blobs of releases stay.
    let before = openedx(home, "campus@1.0.0");
    let diff = home.run(["--json", "diff", "campus", "1.0.0", "1.1.0"]).ok().out;
    for folder in ["layers", "indices"] {
        fs::remove_dir_all(home.store().join(folder)).unwrap();
        fs::create_dir(home.store().join(folder)).unwrap();
    }
    assert_eq!(openedx(home, "campus@1.0.0"), before);
    forget(home);
    assert_eq!(openedx(home, "campus@1.0.0"), before);
    assert_eq!(home.run(["--json", "diff", "campus", "1.0.0", "1.1.0"]).ok().out, diff);
    assert_eq!(fs::read_dir(home.store().join("layers")).unwrap().count(), 0, "nothing is unpacked");
    // Without blobs too it says what is missing and what to do.
    let digest = before["sizes"]["layers"][1]["digest"].as_str().unwrap();
    fs::remove_file(home.store().join("blobs/sha256").join(digest.trim_start_matches("sha256:"))).unwrap();
    assert_eq!(openedx(home, "campus@1.0.0"), before);
    forget(home);
    home.run(["inspect", "campus@1.0.0", "--image", "openedx"]).ends_with(6).says(digest).says("shiplap pull");
}

#[test]
fn odd_images_are_read_as_far_as_that_goes() {
    let home = Home::with_base();
    let outside = home.path("outside");
    fs::create_dir_all(outside.join("evil/lms")).unwrap();
    fs::write(outside.join("secret"), "Name: hunter2\nVersion: 1\n").unwrap();
    let site = "venv/lib/python3.11/site-packages";
    home.write(&format!("root/{site}/broken-1.dist-info/METADATA"), [0xff, 0xfe, 0, b'\n']);
    home.write(&format!("root/{site}/odd-1.dist-info/METADATA"), "Name: odd\nVersion: 1\n");
    home.write(&format!("root/{site}/odd-1.dist-info/direct_url.json"), "{");
    home.write(&format!("root/{site}/odd-1.dist-info/entry_points.txt"), "nonsense\n");
    home.write(&format!("root/{site}/esc-1.dist-info/METADATA"), "Name: esc\nVersion: 1\u{1b}[31m|<b>@x\n");
    // Larger than any record, and nothing on the disk of it.
    let huge = home.write("root/var/lib/dpkg/status", "");
    fs::File::options().write(true).open(huge).unwrap().set_len(65 << 20).unwrap();
    fs::create_dir_all(home.work().join(format!("root/{site}/link-1.dist-info"))).unwrap();
    let link = |target: &std::path::Path, at: String| std::os::unix::fs::symlink(target, home.work().join(at)).unwrap();
    link(&outside.join("secret"), format!("root/{site}/link-1.dist-info/METADATA"));
    fs::create_dir_all(home.work().join("root/openedx")).unwrap();
    link(&outside, "root/openedx/themes".to_owned());
    home.build("odd:1", "FROM base:1\nCOPY root /\n", &[]);
    let found = home.json(&["inspect", "odd:1"]);
    assert_eq!(found["schema"], "shiplap.inspect/1");
    assert_eq!(found["release"], Value::Null);
    let image = &found["images"][0];
    assert_eq!(names(&image["packages"], |_| true), ["esc", "odd"], "{}", image["packages"]);
    assert_eq!(image["themes"], json!([]));
    assert!(!found.to_string().contains("hunter2"));
    let skipped: Vec<&str> =
        image["not_read"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
    for wanted in ["broken-1.dist-info/METADATA", "direct_url.json", "entry_points.txt", "var/lib/dpkg/status"] {
        assert!(skipped.iter().any(|path| path.ends_with(wanted)), "{wanted} is not in {skipped:?}");
    }
    // It was never packed: no sizes of blobs, and no amount to pull.
    assert_eq!(image["sizes"]["compressed"], Value::Null);
    assert!(!home.run(["inspect", "odd:1"]).ok().out.contains('\u{1b}'));
    let diff = home.json(&["diff", "base:1", "odd:1"]);
    assert_eq!(diff["images"][0]["changes"]["packages"][0]["direction"], "added");
    assert_eq!(diff["images"][0]["changes"]["layers"]["pull"], Value::Null);
    home.run(["diff", "base:1", "odd:1"]).ok().says("never packed");
    home.run(["diff", "base:1", "base:1", "--exit-code"]).ok();
}
