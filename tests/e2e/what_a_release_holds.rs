//! What a release says of its images, and a rollback that would leave migrations behind.

use serde_json::json;

use crate::edx::Edx;

#[test]
fn a_release_says_what_its_images_hold_and_no_secret() {
    let edx = Edx::new();
    let release = edx.release("1.0.0");
    assert_eq!(release["migrations"], json!({"badges": ["0001_initial"], "student": ["0001_squashed"]}));
    let facts = &release["inputs"]["openedx"]["facts"];
    assert_eq!(facts["tutor"], "20.0.1");
    assert_eq!(facts["tutor plugins"], "indigo mfe");
    assert_eq!(facts["platform commit"], "0123456789".repeat(4));
    assert_eq!(facts["platform repository"], "https://git.example.org/edx-platform.git");
    assert_eq!(facts["platform release"], "ulmo");
    for name in ["python requirements", "theme indigo", "plugin badges", "settings"] {
        assert_eq!(facts[name].as_str().unwrap().len(), 64, "{name}");
    }
    assert!(!release.to_string().contains("hunter2"));
    assert_eq!(release["inputs"]["mfe"]["facts"]["tutor"], "20.0.1");
    assert!(release["inputs"]["mfe"]["facts"].get("settings").is_none());

    // Each hash follows what it is of, and nothing else.
    edx.put("openedx/themes/indigo/lms/static/sass/_a.scss", "blue");
    edx.put("openedx/edx-platform/lms/envs/common.py", "PLATFORM_NAME = 'x'\nSECRET_KEY = 'hunter3'\n");
    let next = edx.release("1.1.0");
    let next = &next["inputs"]["openedx"]["facts"];
    assert_ne!(next["theme indigo"], facts["theme indigo"]);
    for name in ["python requirements", "plugin badges", "settings"] {
        assert_eq!(next[name], facts[name], "{name}");
    }
}

#[test]
fn a_rollback_stops_at_migrations_that_the_older_release_lacks_and_names_them_by_application() {
    let edx = Edx::new();
    let home = &edx.home;
    edx.release("1.0.0");
    edx.badges(&["0002_colour", "0003_size"]);
    edx.put("openedx/edx-platform/common/djangoapps/student/migrations/0002_more.py", "");
    edx.release("1.1.0");
    for version in ["1.0.0", "1.1.0"] {
        home.run(["deploy", "campus", version]).ok();
    }
    let ran = home.run(["rollback", "campus"]).ends_with(3);
    ran.says("3 migrations").says("badges (0002_colour, 0003_size), student (0002_more)").says("--accept-migrations");
    let report = home.json(&["rollback", "campus", "--accept-migrations"]);
    let left: Vec<&str> =
        report["migrations"]["beyond"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(left, ["0002_colour", "0003_size", "0002_more"]);
    // Forward again nothing is lacking.
    assert_eq!(home.json(&["rollback", "campus", "1.1.0"])["migrations"]["beyond"], json!([]));
}

#[test]
fn a_dry_run_says_in_short_what_is_different_in_the_images() {
    let edx = Edx::new();
    let home = &edx.home;
    edx.release("1.0.0");
    assert!(home.json(&["deploy", "campus", "1.0.0", "--dry-run"])["differences"].is_null(), "nothing runs yet");
    edx.badges(&["0002_colour"]);
    edx.debian("2.38");
    edx.release("1.1.0");
    for version in ["1.0.0", "1.1.0"] {
        home.run(["deploy", "campus", version]).ok();
    }
    let back = home.json(&["rollback", "campus", "--dry-run"]);
    let images = &back["differences"]["images"];
    assert_eq!(images["mfe"], "same");
    let openedx = &images["openedx"]["changed"];
    assert_eq!(openedx["packages"], json!({"down": 1}));
    assert_eq!((&openedx["plugins"], &openedx["themes"]), (&json!(["badges"]), &json!([])));
    assert_eq!(openedx["migrations_removed"], json!({"badges": ["0002_colour"]}));
    assert!(openedx["pull"].as_u64().unwrap() > 0);
    let text = home.run(["rollback", "campus", "--dry-run"]).ok().says("mfe: the same");
    text.says("openedx: packages 1 down; plugins badges; migrations went badges 1;");
    home.run(["deploy", "campus", "1.1.0", "--dry-run"]).ok().says("openedx: the same");

    // Nothing is left of what runs now: the release before can be gone back to all the same.
    let newest = home.json(&["inspect", "campus@1.1.0", "--image", "openedx"]);
    let layer = newest["images"][0]["sizes"]["layers"][1]["digest"].as_str().unwrap().to_owned();
    let older = home.json(&["inspect", "campus@1.0.0", "--image", "openedx"]).to_string();
    assert!(!older.contains(&layer));
    for folder in ["layers", "indices"] {
        std::fs::remove_dir_all(home.store().join(folder)).unwrap();
        std::fs::create_dir(home.store().join(folder)).unwrap();
    }
    std::fs::remove_file(home.store().join("blobs/sha256").join(layer.trim_start_matches("sha256:"))).unwrap();
    let database = rusqlite::Connection::open(home.store().join("cache.db")).unwrap();
    database.execute("DELETE FROM names WHERE space = 'worked-out'", []).unwrap();
    home.run(["rollback", "campus", "--dry-run"]).ok().says("openedx: not known:").says("mfe: the same");
    home.run(["rollback", "campus", "--accept-migrations"]).ok();
}
