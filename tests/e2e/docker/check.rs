//! `--check` says what `docker buildx build --check` says, line by line. Where BuildKit's newest frontend says less than that of Docker 28.5
//! shiplap follows the former, and `docs/compatibility.md` has a row.

use super::Case;

#[track_caller]
fn alike(texts: &[&str]) {
    for text in texts {
        Case::new(text).file("kept", "").file(".dockerignore", "left\n").checks_alike();
    }
}

#[test]
fn nothing_found() {
    alike(&[
        "FROM scratch\nCOPY kept /\n",
        "from scratch as one\nfrom one\nadd kept /\ncmd [\"x\"]\n",
        "ARG TOKEN=1\nFROM base\nARG PUBLIC_KEY monkey\nWORKDIR /x\nWORKDIR y\nSHELL [\"x\"]\nCMD y\n",
        "FROM --platform=$BUILDPLATFORM scratch\nEXPOSE 80 $none\n",
        "FROM base\nCOPY left /\n",
    ]);
}

#[test]
fn casing() {
    alike(&[
        "FROM scratch as Up\nfrom scratch AS b\nFrom scratch As c\n",
        "FROM scratch\ncopy kept /a\nCoPy kept /b\nCOPY kept /c\n",
        "from scratch\nCOPY kept /a\n",
        "arg x=1\narg y=1\nFROM scratch\nCOPY kept /a\n",
        "FROM scratch\nEXPOSE 80/TCP 1:80 127.0.0.1:82:82/Udp [::1]:83:83\n",
    ]);
}

#[test]
fn names_and_bases() {
    alike(&[
        "FROM scratch AS x\nFROM scratch AS x\nFROM x AS scratch\nFROM x AS Context\n",
        "ARG BASE\nARG V=\nFROM scratch$V\n",
        "FROM scratch$VRE\n",
        "ARG VER=scratch\nFROM ${VRE:-scratch}\n",
        "FROM --platform=linux/amd64 scratch AS one\nFROM --platform=linux/arm64 scratch AS for-arm64\n",
        "FROM --platform=$TARGETPLATFORM scratch\nFROM --platform=${TARGETPLATFORM} scratch\n",
        "FROM --platform=linux/${TARGETARCH} scratch\n",
    ]);
}

#[test]
fn variables() {
    alike(&[
        "FROM base\nCOPY $none $none /${other:-x}\nENV A=$PTAH B=${B}\nLABEL l=$A$Q\n",
        "FROM base\nARG a\nARG b=$c\nUSER $a\nUSER $nobody\nWORKDIR $x/y\nSTOPSIGNAL ${s:-9}\nVOLUME $v/x\n",
        "FROM base\nCOPY --chown=$u --chmod=${m:-755} kept /\nCOPY <<EOF /x\n$text\nEOF\nRUN --mount=type=cache,target=$t/x true\n",
        "FROM base AS one\nARG a\nENV b=1\nFROM one\nCOPY $a $b /\n",
        "FROM scratch\nENV password=1 API_TOKEN=2\nARG secret auth=1 keyboard\nENV a b\nENV key c\nLABEL l m\n",
    ]);
}

#[test]
fn stages() {
    alike(&[
        "FROM scratch AS one\nCMD x\nCMD y\nENTRYPOINT z\nENTRYPOINT [\"z\"]\nFROM scratch\nHEALTHCHECK NONE\nHEALTHCHECK CMD x\nHEALTHCHECK NONE\n",
        "FROM scratch\nWORKDIR x\nWORKDIR y\nFROM scratch\nMAINTAINER me\n",
        "FROM scratch AS one\nONBUILD CMD x\nONBUILD ENV a b\nFROM one\nCMD y\n",
        "FROM scratch\nCOPY kept \\\n\n  /x\nENV a=1 \\\n  # why\n\n  b=2\nCMD x\n",
        "FROM base\nRUN <<EOF\necho\n\necho\nEOF\nCMD x\n",
    ]);
    Case::new("FROM scratch AS one\nCMD x\nFROM scratch AS two\nCMD x\n").flag("--target=one").checks_alike();
    Case::new("ARG BASE\nFROM $BASE\nCMD x\n").flag("--build-arg=BASE=scratch").checks_alike();
}

#[test]
fn directives() {
    alike(&[
        "# check=skip=JSONArgsRecommended, StageNameCasing\nFROM scratch AS Up\nCMD x\n",
        "# check=skip=all\nFROM scratch AS Up\nCMD x\n",
        "# check=skip=all;experimental=all\nFROM scratch AS Up\nCOPY left left/x kept /\nADD /left ../left /\nCOPY . /\n",
        "# check=error=true\nFROM scratch\nCMD x\n",
        "# check=error=true\nFROM scratch\n",
        "#!/usr/bin/x\n# check=skip=all\nFROM scratch\nCMD x\n",
        "# hello\n# check=skip=all\nFROM scratch\nCMD x\n",
        "# check=nonsense\nFROM scratch\n",
        "# check=experimental=InvalidDefinitionDescription\n# what\nARG a=1\n# a what\nARG a=1\n# b\n\nFROM scratch AS b\n  # c what\nFROM scratch AS c\n# x\n#\nARG e f\n# g\nARG e f\n# zz\nENV x=1\n",
    ]);
    let skip = "--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=JSONArgsRecommended";
    Case::new("# check=error=true\nFROM scratch\nCMD x\n").flag(skip).checks_alike();
    Case::new("FROM scratch\n").flag("--build-arg=BUILDKIT_DOCKERFILE_CHECK=nonsense").checks_alike();
}

#[test]
fn everything_is_ignored() {
    let text = "# check=experimental=CopyIgnoredFile\nFROM scratch\nCOPY . /\nCOPY --from=base x /\nADD a/b /\n";
    Case::new(text).file(".dockerignore", "*\n").checks_alike();
}
