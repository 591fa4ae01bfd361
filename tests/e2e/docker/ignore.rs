//! `.dockerignore`.

use super::Case;

fn zoo(rules: &str) -> Case {
    Case::new("FROM scratch\nCOPY . /\n")
        .file(".dockerignore", rules)
        .file("a.txt", "a")
        .file("b.md", "b")
        .file(".git/HEAD", "h")
        .file("d/a.txt", "da")
        .file("d/b.md", "db")
        .file("d/e/a.txt", "dea")
        .file("d/e/keep.txt", "k")
        .file("node_modules/x/index.js", "x")
        .dir("empty", 0o755)
}

#[test]
fn names_patterns_and_exceptions() {
    zoo("# comment\n*.txt\n.git\n**/node_modules\n!a.txt\n").same();
    zoo("**/*.txt\n!**/keep.txt\n").same();
    zoo("d/*\n!d/e\n").same();
    zoo("d\n!d/e/keep.txt\n").same();
    zoo("*\n!d\nd/e\n").same();
}

#[test]
fn itself_and_the_dockerfile() {
    zoo(".dockerignore\nDockerfile\n").same();
    zoo("/a.txt\n./b.md\n  d/e  \nempty/\n").same();
    zoo("*/*.md\n?.txt\n[.]git\n").same();
}

#[test]
fn what_is_ignored_cannot_be_copied() {
    let case = |rules: &str| {
        Case::new("FROM scratch\nCOPY d/a /\n").file(".dockerignore", rules).file("d/a", "a").file("d/b", "b")
    };
    case("d/a\n").refused();
    case("d\n").refused();
    case("d\n!d/a\n").same();
}

#[test]
fn a_bad_pattern() {
    zoo("[\n").refused();
}

#[test]
fn the_file_of_the_dockerfile_goes_first() {
    zoo("*.txt\n").file("../Dockerfile.dockerignore", "*.md\n").same();
}

#[test]
fn what_is_not_utf8() {
    let case =
        |rules: &[u8]| Case::new("FROM scratch\nCOPY . /\n").file(".dockerignore", rules).file("a", "a").file("b", "b");
    case(b"# caf\xe9\na\n").same();
    case(b"caf\xe9\nb\n").same();
}

#[test]
fn lines_of_all_kinds() {
    for rules in [
        "*.txt\r\nd\r\n",
        "\u{feff}*.txt\n",
        "  # no comment\n #d\nb.md  \n\td\n",
        "**\n!a.txt\n",
        "**\n!**/keep.txt\n",
        "**/d\n",
        "d/**/a.txt\n",
        "d/**\n!d/e\n!d/e/keep.txt\n",
        "[a-b].*\n[^d]mpty\n",
        "d/../b.md\n../a.txt\n//d//e//\n",
        ".\n",
        "/\n",
        "*\n!*.md\n!d\nd/*.md\n",
        "!a.txt\n*.txt\n",
        "! a.txt\n",
        "**/*\n!node_modules/**\n",
        "node_modules/**/*.js\n**/e/\n",
        "D\nA.TXT\n",
        "a.tx\\t\n\\d\n",
        "d*\n?.*\n",
    ] {
        zoo(rules).same();
    }
    for wrong in ["!\n", "[a\n", "a[]\n"] {
        zoo(wrong).refused();
    }
}
