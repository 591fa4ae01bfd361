//! What git says about the tree.

use std::path::{Path, PathBuf};
use std::process::Command;

use shiplap_manifests::git::{GitError, GitState};

fn git(folder: &Path, args: &[&str]) {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn repository() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_owned();
    git(&folder, &["init", "-q"]);
    std::fs::create_dir(folder.join("sub")).unwrap();
    std::fs::write(folder.join("sub/file"), "1").unwrap();
    std::fs::write(folder.join(".gitignore"), "ignored\n").unwrap();
    git(&folder, &["add", "."]);
    git(&folder, &["commit", "-qm", "first"]);
    (dir, folder)
}

#[test]
fn a_clean_tree_has_its_commit_and_no_more() {
    let (_dir, folder) = repository();
    std::fs::write(folder.join("ignored"), "x").unwrap();
    let state = GitState::inspect(&folder.join("sub"), &[]).unwrap();
    assert_eq!((state.commit.as_str().len(), state.remote, state.dirty), (40, None, None));
}

#[test]
fn changed_new_and_removed_files_make_it_dirty() {
    let (_dir, folder) = repository();
    let dirty = || GitState::inspect(&folder, &[]).unwrap().dirty;
    std::fs::write(folder.join("sub/file"), "2").unwrap();
    let changed = dirty().unwrap();
    assert_eq!(changed.files, ["sub/file"]);
    std::fs::write(folder.join("sub/näw file"), "3").unwrap();
    let added = dirty().unwrap();
    assert_eq!(added.files, ["sub/file", "sub/näw file"]);
    assert_ne!(added.tree, changed.tree);
    std::fs::remove_file(folder.join("sub/näw file")).unwrap();
    assert_eq!(dirty().unwrap(), changed, "the hash is that of the content");
    std::fs::remove_file(folder.join("sub/file")).unwrap();
    assert_eq!(dirty().unwrap().files, ["sub/file"]);
}

#[test]
fn asking_leaves_the_repository_as_it_was() {
    let (_dir, folder) = repository();
    std::fs::write(folder.join("new"), "2").unwrap();
    let listing = || {
        let out = Command::new("find").arg(folder.join(".git")).args(["-type", "f", "-newermt", "2000-01-01"]).output();
        let mut lines: Vec<_> = String::from_utf8(out.unwrap().stdout).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        (lines, std::fs::read(folder.join(".git/index")).unwrap())
    };
    let before = listing();
    assert!(GitState::inspect(&folder, &[]).unwrap().dirty.is_some());
    assert_eq!(listing(), before);
}

#[test]
fn files_that_shiplap_owns_do_not_make_it_dirty() {
    let (_dir, folder) = repository();
    let owned = folder.join("sub/compose.override.yml");
    std::fs::write(&owned, "x").unwrap();
    assert!(GitState::inspect(&folder, &[]).unwrap().dirty.is_some());
    assert_eq!(GitState::inspect(&folder, &[owned, PathBuf::from("/elsewhere/file")]).unwrap().dirty, None);
}

#[test]
fn files_that_shiplap_owns_are_not_in_the_tree_of_a_dirty_one_ignored_or_not() {
    let (_dir, folder) = repository();
    let owned = folder.join("sub/compose.override.yml");
    std::fs::write(folder.join("new"), "x").unwrap();
    let dirty = || GitState::inspect(&folder, std::slice::from_ref(&owned)).unwrap().dirty.unwrap();
    let without = dirty();
    std::fs::write(&owned, "x").unwrap();
    assert_eq!(dirty().tree, without.tree);
    std::fs::write(folder.join(".git/info/exclude"), "sub/compose.override.yml").unwrap();
    assert_eq!(dirty().tree, without.tree);
    assert_eq!(dirty().files, ["new"]);
}

#[test]
fn the_remote_of_a_clone_is_where_it_came_from() {
    let (_dir, folder) = repository();
    let clone = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.display());
    git(clone.path(), &["clone", "-q", &url, "."]);
    assert_eq!(GitState::inspect(clone.path(), &[]).unwrap().remote.as_deref(), Some(url.as_str()));
    git(clone.path(), &["remote", "set-url", "origin", "https://ada:secret@git.example.org/campus.git"]);
    let remote = GitState::inspect(clone.path(), &[]).unwrap().remote;
    assert_eq!(remote.as_deref(), Some("https://git.example.org/campus.git"));
}

#[test]
fn no_repository_and_no_commit_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let error = GitState::inspect(dir.path(), &[]).unwrap_err();
    assert!(matches!(error, GitError::NoRepository(_)) && error.to_string().contains("git init"), "{error}");
    git(dir.path(), &["init", "-q"]);
    let error = GitState::inspect(dir.path(), &[]).unwrap_err();
    assert!(matches!(error, GitError::NoCommit(_)) && error.to_string().contains("git commit"), "{error}");
}
