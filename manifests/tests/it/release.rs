//! Making releases.

use std::sync::Barrier;

use shiplap_cache::Digest;
use shiplap_manifests::git::Dirty;
use shiplap_manifests::images::ImageProblem;
use shiplap_manifests::names::Reference;
use shiplap_manifests::release::ReleaseSeq;
use shiplap_manifests::version::{Bump, VersionError};
use shiplap_manifests::{Built, Error, ReleaseRequest, VersionChoice};

use crate::site::{COMMIT, Site, all_there, built, clean};

#[test]
fn releases_are_a_chain_in_order() {
    let mut site = Site::new();
    let first = site.release("1.1.0").unwrap().release;
    // A lower version may come later: a fix for an older line.
    let second = site.release("1.0.1").unwrap().release;
    assert_eq!((first.release.sequence, second.release.sequence), (ReleaseSeq(1), ReleaseSeq(2)));
    assert_eq!((first.release.previous, second.release.previous), (None, Some(first.digest)));
    assert_eq!(first.release.tag.to_string(), "1.1.0-g3f2c1ab09d4e");
    assert_eq!(site.history.release(&site.name(), &"1.0.1".parse().unwrap()).unwrap(), second);
    let listed: Vec<_> =
        site.history.releases(&site.name(), None).unwrap().into_iter().map(|row| row.sequence.0).collect();
    assert_eq!(listed, [2, 1]);
    assert_eq!(site.history.verify(&site.name()).unwrap(), 2);
    assert_eq!(site.history.instances().unwrap(), [site.name()]);
}

#[test]
fn the_next_version_comes_from_the_newest_by_sequence() {
    let mut site = Site::new();
    for version in ["1.1.0", "1.0.1"] {
        site.release(version).unwrap();
    }
    let bump = |bump| {
        let request =
            ReleaseRequest { version: VersionChoice::Bump(bump), allow_dirty: false, creator: "ada".to_owned() };
        site.history.prepare(&site.name(), site.instance(), &clean(), request)
    };
    assert_eq!(bump(Bump::Patch).unwrap().version.to_string(), "1.0.2");
    // 1.1.0 is there, from the same commit: it would be the same release again.
    assert!(bump(Bump::Minor).unwrap().again);
}

#[test]
fn a_dirty_tree_is_refused_and_named_in_the_tag_when_allowed() {
    let site = Site::new();
    let dirty =
        Dirty { files: vec!["themes/a.scss".to_owned()], tree: "00112233445566778899aabbccddeeff00112233".to_owned() };
    let git = shiplap_manifests::git::GitState { dirty: Some(dirty), ..clean() };
    let prepare = |allow_dirty| {
        let version = VersionChoice::exact("1.0.0").unwrap();
        let request = ReleaseRequest { version, allow_dirty, creator: "ada".to_owned() };
        site.history.prepare(&site.name(), site.instance(), &git, request)
    };
    let error = prepare(false).unwrap_err().to_string();
    assert!(error.contains("themes/a.scss") && error.contains("--allow-dirty"), "{error}");
    assert_eq!(prepare(true).unwrap().tag.to_string(), "1.0.0-g3f2c1ab09d4e-dirty.00112233");
}

#[test]
fn what_is_no_version_is_refused() {
    for text in ["v1.0.0", "1.0", "one", ""] {
        assert!(matches!(VersionChoice::exact(text), Err(Error::Version(VersionError::NotSemver { .. }))), "{text}");
    }
    assert!(matches!(VersionChoice::exact("1.0.0+a"), Err(Error::Version(VersionError::BuildMetadata(_)))));
}

#[test]
fn a_version_is_taken_by_another_commit_and_repeatable_by_the_same() {
    let mut site = Site::new();
    let first = site.release("1.0.0").unwrap();
    let again = site.release("1.0.0").unwrap();
    assert!(first.created && !again.created);
    assert_eq!(first.release, again.release);

    let mut other = clean();
    other.commit = COMMIT.replace("3f2c", "4444").parse().unwrap();
    let request =
        ReleaseRequest { version: VersionChoice::exact("1.0.0").unwrap(), allow_dirty: false, creator: "a".to_owned() };
    let error = site.history.prepare(&site.name(), site.instance(), &other, request).unwrap_err();
    assert!(matches!(&error, Error::VersionTaken { tag, .. } if tag.to_string() == "1.0.0-g3f2c1ab09d4e"), "{error}");

    let draft = site.draft("1.0.0").unwrap();
    let error = site.history.commit(&draft, built(&draft, "other"), &all_there, &()).unwrap_err();
    assert!(matches!(error, Error::OtherImages { .. }), "{error}");
    assert_eq!(site.history.releases(&site.name(), None).unwrap().len(), 1);
}

#[test]
fn a_release_is_the_whole_set_or_none() {
    let mut site = Site::new();
    let draft = site.draft("1.0.0").unwrap();
    let whole = built(&draft, "x").images;
    let mut stranger = whole[0].clone();
    stranger.name = "notes".parse().unwrap();
    let sets = [
        vec![],
        vec![whole[0].clone()],
        vec![whole[0].clone(), whole[0].clone()],
        vec![whole[0].clone(), whole[1].clone(), stranger.clone()],
        vec![whole[0].clone(), stranger],
    ];
    for images in sets {
        let names: Vec<_> = images.iter().map(|image| image.name.to_string()).collect();
        let error = site.history.commit(&draft, Built { images, ..Built::default() }, &all_there, &()).unwrap_err();
        assert!(matches!(error, Error::NotTheSet { .. }), "{names:?}: {error}");
    }
    let mut elsewhere = whole;
    elsewhere[1].reference.repository = "other/openedx".parse().unwrap();
    let error =
        site.history.commit(&draft, Built { images: elsewhere, ..Built::default() }, &all_there, &()).unwrap_err();
    assert!(matches!(error, Error::WrongReference { .. }), "{error}");
    assert!(site.history.newest(&site.name()).unwrap().is_none());
}

#[test]
fn an_image_that_is_not_whole_keeps_the_release_from_being_seen() {
    let mut site = Site::new();
    let draft = site.draft("1.0.0").unwrap();
    let problems = [
        ImageProblem::Missing,
        ImageProblem::Incomplete("layer 3".to_owned()),
        ImageProblem::Unknown("timeout".to_owned()),
    ];
    for problem in problems {
        let check = |reference: &Reference, _: &Digest| match reference.repository.as_str() {
            "campus/openedx" => Err(problem.clone()),
            _ => Ok(()),
        };
        let error = site.history.commit(&draft, built(&draft, "x"), &check, &()).unwrap_err();
        assert!(matches!(&error, Error::Image { problem: found, .. } if *found == problem), "{error}");
        assert!(site.history.newest(&site.name()).unwrap().is_none());
    }
}

#[test]
fn of_many_who_release_one_version_exactly_one_wins() {
    let site = Site::new();
    let barrier = Barrier::new(8);
    let results: Vec<_> = std::thread::scope(|scope| {
        let run = |i: usize| {
            let (barrier, folder) = (&barrier, &site.folder);
            scope.spawn(move || {
                let mut site = Site::open(folder);
                let draft = site.draft("1.0.0").unwrap();
                barrier.wait();
                // Four of them have the same images.
                site.history.commit(&draft, built(&draft, &(i % 2).to_string()), &all_there, &()).map(|c| c.created)
            })
        };
        let threads: Vec<_> = (0..8).map(run).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let count = |wanted: fn(&Result<bool, Error>) -> bool| results.iter().filter(|r| wanted(r)).count();
    assert_eq!(count(|r| matches!(r, Ok(true))), 1, "{results:?}");
    assert_eq!(count(|r| matches!(r, Ok(false))), 3, "{results:?}");
    assert_eq!(count(|r| matches!(r, Err(Error::OtherImages { .. }))), 4, "{results:?}");
}

#[test]
fn releases_of_different_versions_at_once_all_get_a_place() {
    let site = Site::new();
    std::thread::scope(|scope| {
        for i in 0..8 {
            let folder = &site.folder;
            scope.spawn(move || Site::open(folder).release(&format!("1.{i}.0")).unwrap());
        }
    });
    assert_eq!(site.history.verify(&site.name()).unwrap(), 8);
}

#[test]
fn a_release_that_is_not_there_is_named_with_the_newest() {
    let mut site = Site::new();
    let version = "9.9.9".parse().unwrap();
    assert!(matches!(site.history.release(&site.name(), &version), Err(Error::NoRelease(_))));
    site.release("1.0.0").unwrap();
    let error = site.history.release(&site.name(), &version).unwrap_err().to_string();
    assert!(error.contains("9.9.9") && error.contains("1.0.0"), "{error}");
}
