//! The fuzz targets, briefly. `fuzz/README.md` says how to go on.

#[path = "../../../fuzz/mutate.rs"]
mod mutate;

use shiplap_builder::fuzzing;

const WORDS: [&str; 60] = [
    "FROM ",
    "scratch",
    " AS ",
    "RUN ",
    "COPY ",
    "ADD ",
    "ENV ",
    "ARG ",
    "LABEL ",
    "EXPOSE ",
    "VOLUME ",
    "WORKDIR ",
    "USER ",
    "CMD ",
    "ENTRYPOINT ",
    "HEALTHCHECK ",
    "ONBUILD ",
    "SHELL ",
    "STOPSIGNAL ",
    "MAINTAINER ",
    "\n",
    "\\\n",
    "\r\n",
    "<<EOF",
    "<<-",
    "EOF\n",
    "# escape=`\n",
    "# syntax=",
    "# check=",
    "--from=",
    "--mount=type=",
    "cache,target=",
    "--chmod=",
    "--chown=",
    "--parents",
    "--link",
    "--exclude=",
    "${",
    "}",
    "$",
    ":-",
    ":+",
    ":?",
    "##",
    "%%",
    "//",
    "/",
    "*",
    "?",
    "\\",
    "\"",
    "'",
    "[\"",
    "\"]",
    "=",
    ",",
    "0-65535",
    "http://a/b.git#c:d",
    "ü",
    "\u{0}",
];

#[test]
fn dockerfiles() {
    mutate::run("dockerfile", &WORDS, |_| {}, fuzzing::dockerfile);
}

#[test]
fn expansions() {
    mutate::run("expansion", &WORDS[37..], |_| {}, fuzzing::expansion);
}

#[test]
fn ignore_files() {
    const WORDS: [&str; 16] =
        ["**", "*", "?", "/", "!", "\\", "[", "]", "[^", "-", "a", "**/", "/**", "\n", "\n\n", ".."];
    mutate::run("ignore", &WORDS, |_| {}, fuzzing::ignore);
}
