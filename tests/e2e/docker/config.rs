//! The image's configuration.

use super::Case;

#[test]
fn every_instruction() {
    Case::new(concat!(
        "FROM base\nMAINTAINER me\nENV A=1 B=\"a b\"\nENV C the rest of it\nLABEL x=y \"a b\"='c d' x2=${A}\nEXPOSE 80 443/tcp 53/udp 8000-8002\nVOLUME /v1 /v2\n",
        "VOLUME [\"/v 3\"]\nUSER bob:users\nWORKDIR /w\nSTOPSIGNAL SIGINT\nSHELL [\"/bin/sh\", \"-e\", \"-c\"]\nCMD echo $A\n",
        "HEALTHCHECK --interval=5s --timeout=1m --start-period=2s --retries=3 CMD test -e /x\nENTRYPOINT [\"/bin/sh\", \"-c\"]\nONBUILD RUN echo built\n",
    ))
    .same();
}

#[test]
fn an_entrypoint_resets_the_command() {
    Case::new("FROM base AS one\nCMD [\"one\"]\nFROM one\nENTRYPOINT [\"two\"]\n").same();
    Case::new("FROM base\nCMD [\"one\"]\nENTRYPOINT two three\nCMD [\"four\"]\n").same();
    Case::new("FROM base\nENTRYPOINT []\nCMD []\nHEALTHCHECK NONE\n").same();
    Case::new("FROM base\nHEALTHCHECK --interval=x --no=1 NONE\nSTOPSIGNAL --no=1 +5\n").same();
    Case::new("FROM base\nSTOPSIGNAL SIGRTMAX-14\nEXPOSE +80 81/ [::1]:82:83/UDP 1.2.3.4::84 5-9:85 86-87:86-87\n")
        .same();
}

#[test]
fn later_values_take_the_place_of_earlier_ones() {
    Case::new("FROM base\nENV A=1 B=2\nENV A=3 PATH=/x:$PATH\nLABEL l=1\nLABEL l=2\nEXPOSE 1\nEXPOSE 1\nVOLUME /v\nVOLUME /v\nUSER a\nUSER b\n").same();
}

#[test]
fn expansion() {
    Case::new(concat!(
        "FROM base\nARG E=\nARG F=full\nENV A=${F} B=${E:-empty} C=${N:+set} D=${F:+set} E2=\\$F G='$F' H=\"$F\" I=${F}x$F.y J=${F#f} K=${F%l} L=${F/u/o} M=${E-unset} O=${N-unset}\n",
        "LABEL a=$A b=\"${B}\" c='$A'\nEXPOSE ${P:-8080}\nVOLUME /v/$F\nSTOPSIGNAL ${S:-SIGTERM}\nUSER ${F}\nCMD echo $F\n",
    ))
    .same();
}

#[test]
fn a_value_that_must_be_there() {
    Case::new("FROM base\nENV A=${N:?no}\n").refused();
}

#[test]
fn onbuild_steps_run_in_the_next_stage() {
    Case::new("FROM base AS one\nONBUILD COPY a /a\nONBUILD RUN cat /a >/b\nONBUILD ENV X=1\nONBUILD WORKDIR /ob\nFROM one\nRUN echo $X >c\n")
    .file("a", "a\n")
    .same();
}

#[test]
fn arguments_and_labels_of_the_command_line() {
    Case::new("ARG TAG=none\nFROM base\nARG TAG\nARG V=1\nENV T=$TAG V=$V\nLABEL own=1 both=file\n")
        .flag("--build-arg=TAG=given")
        .flag("--build-arg=V=2")
        .flag("--label=both=flag")
        .flag("--label=new=x y")
        .same();
}

#[test]
fn the_escape_directive() {
    Case::new("# escape=`\nFROM base\nENV A=a`\nb\nRUN echo `\n  one >/1\nENV B=c:\\dir\n").same();
}

#[test]
fn mistakes() {
    for wrong in [
        "FRM base\n",
        "FROM base\nRUNN x\n",
        "FROM base\nCOPY a\n",
        "FROM base\nEXPOSE x\n",
        "FROM base\nEXPOSE x:80\n",
        "FROM base\nEXPOSE 999.1.1.1:80:80\n",
        "FROM base\nEXPOSE 80-90:1-2\n",
        "FROM base\nSTOPSIGNAL RTMIN+16\n",
        "FROM base\nENV A\n",
        "FROM base\nCOPY --nothing=1 a /\n",
        "FROM base AS 1x\n",
        "RUN true\n",
        "FROM base\nCMD [\"a\"]\nHEALTHCHECK --interval=x CMD y\n",
        "FROM base\nSTOPSIGNAL x y\n",
        "FROM base\nSHELL /bin/sh\n",
        "",
    ] {
        Case::new(wrong).file("a", "a").refused();
    }
}
