//! Reading `shiplap.toml`.

use std::path::Path;

use shiplap_manifests::Config;
use shiplap_manifests::config::{Age, Compression, ConfigError, Deploy, Pin, Secret};

const IMAGE: &str = "[instance.campus.image.openedx]\ncontext = \"c\"\nrepository = \"campus/openedx\"\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/site/shiplap.toml"), text)
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn the_whole_form_is_read() {
    let config = parse(
        r#"
        [instance.campus]
        tutor-root = "tutor"
        [instance.campus.image.openedx]
        context = "env/build/openedx"
        dockerfile = "Dockerfile.prod"
        target = "production"
        repository = "ghcr.io/campus/openedx"
        build-args = { A = "b" }
        build-contexts = { edx-platform = "../edx-platform" }
        secrets = { token = { env = "TOKEN" }, npmrc = { file = "npmrc" } }
        platform = "linux/amd64"
        [[instance.campus.deploy]]
        kind = "compose"
        file = "deploy/compose.override.yml"
        services = { lms = "openedx" }
        pin = "tag"
        overwrite = true
        [[instance.campus.deploy]]
        kind = "tutor"
        images = { openedx = "DOCKER_IMAGE_OPENEDX" }
        [build]
        compression = "gzip"
        [release]
        push = false
        [gc]
        grace = "2h"
        max-used-space = "50GB"
        "#,
    )
    .unwrap();
    let (_, instance) = config.instance("campus").unwrap();
    let image = &instance.image[&"openedx".parse().unwrap()];
    assert_eq!(image.dockerfile_path(), Path::new("env/build/openedx/Dockerfile.prod"));
    assert_eq!(image.secrets["token"], Secret::Env("TOKEN".to_owned()));
    assert_eq!(image.secrets["npmrc"], Secret::File("npmrc".into()));
    assert!(matches!(&instance.deploy[0], Deploy::Compose(target) if target.pin == Pin::Tag && target.overwrite));
    assert_eq!((config.build.compression, config.release.push), (Compression::Gzip, Some(false)));
    assert_eq!((config.gc.grace.unwrap().0.as_secs(), config.gc.max_used_space.unwrap().0), (7200, 50_000_000_000));
}

#[test]
fn what_is_left_out_has_a_default() {
    let config = parse(IMAGE).unwrap();
    let image = &config.instance("campus").unwrap().1.image[&"openedx".parse().unwrap()];
    assert_eq!(image.dockerfile_path(), Path::new("c/Dockerfile"));
    assert_eq!((config.build.compression, config.release.push), (Compression::Zstd, None));
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_what_was_meant() {
    let text = format!("{IMAGE}dockerfiel = \"x\"\n");
    match parse(&text).unwrap_err() {
        ConfigError::Syntax { line: 4, column: 1, suggestion, .. } => {
            assert_eq!(suggestion.as_deref(), Some("dockerfile"));
        }
        other => panic!("{other:?}"),
    }
    assert!(error("[instnace.campus]\n").contains("shiplap.toml:1:2: unknown field `instnace`"));
    let deploy = format!("{IMAGE}[[instance.campus.deploy]]\nkind = \"compos\"\n");
    assert!(error(&deploy).ends_with("did you mean `compose`?"), "{}", error(&deploy));
    let deploy = format!("{IMAGE}[[instance.campus.deploy]]\nkind = \"compose\"\nfile = \"f\"\nservice = {{}}\n");
    assert!(error(&deploy).ends_with("did you mean `services`?"), "{}", error(&deploy));
}

#[test]
fn broken_toml_is_placed() {
    let message = error("[instance.campus\n");
    assert!(message.starts_with("/site/shiplap.toml:1:"), "{message}");
    assert!(error("[instance.Campus]\n").contains("`Campus` cannot be the name of an instance"));
    assert!(error(&IMAGE.replace("campus/openedx", "campus/openedx:1.0")).contains("without a tag"));
}

#[test]
fn an_instance_that_is_not_there_is_named_with_those_that_are() {
    let config = parse(IMAGE).unwrap();
    let message = config.instance("campsu").unwrap_err().to_string();
    assert!(message.contains("it has campus") && message.contains("did you mean `campus`?"), "{message}");
    assert!(parse("").unwrap().instance("x").unwrap_err().to_string().contains("shiplap init"));
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    let other = IMAGE.replace("image.openedx", "image.mfe");
    assert!(error(&format!("{IMAGE}{other}")).contains("the repository `campus/openedx` is that of"));
    let hub = other.replace("campus/openedx", "docker.io/campus/openedx");
    assert!(error(&format!("{IMAGE}{hub}")).contains("is that of instance.campus.image.mfe too"));
    assert!(error("[instance.campus]\n").contains("has no image"));
    let deploy = |rest: &str| format!("{IMAGE}[[instance.campus.deploy]]\n{rest}\n");
    let compose = "kind = \"compose\"\nfile = \"f\"\n";
    let message = error(&deploy(&format!("{compose}services = {{ lms = \"opendx\" }}")));
    assert!(message.contains("`opendx` is not an image") && message.contains("did you mean `openedx`?"), "{message}");
    assert!(error(&deploy(&format!("{compose}services = {{}}"))).contains("`services` is empty"));
    assert!(error(&deploy("kind = \"tutor\"")).contains("tutor-root"));
    let twice = deploy(&format!("{compose}services = {{ lms = \"openedx\" }}"));
    let twice = format!("{twice}{}", twice.replace(IMAGE, ""));
    assert!(error(&twice).contains("one would undo the other"), "{}", error(&twice));
}

#[test]
fn the_file_is_found_from_a_folder_below() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    assert_eq!(Config::find(&below), None);
    std::fs::write(dir.path().join("shiplap.toml"), IMAGE).unwrap();
    let found = Config::find(&below).unwrap();
    assert_eq!(found, dir.path().join("shiplap.toml"));
    assert_eq!(Config::load(&found).unwrap().folder(), dir.path());
    assert!(matches!(Config::load(&below.join("shiplap.toml")), Err(ConfigError::Read { .. })));
}

#[test]
fn an_age_is_a_number_and_a_unit() {
    for (text, seconds) in
        [("0s", 0), ("90m", 5_400), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600), ("1 h", 3_600)]
    {
        let config = parse(&format!("[build]\nmax-age = \"{text}\"\n{IMAGE}")).unwrap();
        let age = config.build.max_age.unwrap();
        assert_eq!(age.0.as_secs(), seconds, "{text}");
        assert_eq!(Age::try_from(String::from(age)), Ok(age));
    }
    assert_eq!(parse(IMAGE).unwrap().build.max_age, None);
    for wrong in ["", "h", "12", "-1h", "1.5h", "12y", "12 µ", "h12", "30500568904944w"] {
        let error = error(&format!("[build]\nmax-age = \"{wrong}\"\n{IMAGE}"));
        assert!(error.contains("is no length of time") && error.contains("12h"), "{error}");
    }
    assert!(error(&format!("[build]\nmax-age = 12\n{IMAGE}")).contains("expected a string"));
}
