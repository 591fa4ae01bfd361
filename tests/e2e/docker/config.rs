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

#[test]
fn health_checks() {
    Case::new("FROM base\nHEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=0 --start-interval=500ms --retries=0 CMD [\"a\", \"b\"]\n").same();
    Case::new("FROM base\nHEALTHCHECK --interval=+5s --timeout=1h2m3s4ms5us --start-period=2000000ns CMD a $b 'c'\n")
        .same();
    Case::new("FROM base\nHEALTHCHECK cmd a\nHEALTHCHECK none\n").same();
    Case::new("FROM base\nHEALTHCHECK --interval=.5s --timeout=1.s --start-period= --retries= CMD a\n").same();
    Case::new("FROM base AS one\nHEALTHCHECK CMD a\nFROM one\n").same();
    for wrong in [
        "--interval=5 CMD a",
        "--interval=-5s CMD a",
        "--interval=1us CMD a",
        "--interval=. CMD a",
        "--interval=1s1 CMD a",
        "--retries=-1 CMD a",
        "--retries=x CMD a",
        "--retries=1.5 CMD a",
        "--interval=1s --interval=2s CMD a",
        "NONE a",
        "CMD",
        "CMD []",
        "RUN a",
        "",
    ] {
        Case::new(&format!("FROM base\nHEALTHCHECK {wrong}\n")).refused();
    }
}

#[test]
fn signals() {
    Case::new("FROM base\nSTOPSIGNAL 9\n").same();
    Case::new("FROM base\nARG S=quit\nSTOPSIGNAL sig$S\n").same();
    for wrong in ["", "0", "SIGNOTHING", "KILL9", "$NOTHING"] {
        Case::new(&format!("FROM base\nSTOPSIGNAL {wrong}\n")).refused();
    }
}

#[test]
fn what_is_written_to_a_volume_stays() {
    Case::new(concat!(
        "FROM base\nVOLUME /v /data/dir\nRUN mkdir -p /v && echo 1 >/v/1 && echo 2 >>/data/dir/inner\nCOPY a /v/\n",
        "RUN echo 3 >>/v/a && rm /data/dir/inner\nWORKDIR /v/w\n",
    ))
    .file("a", "a\n")
    .same();
    Case::new("FROM base AS one\nVOLUME /v\nFROM one\nVOLUME /w\nRUN mkdir /v; echo 1 >/v/1\n").same();
}

#[test]
fn shells() {
    Case::new("FROM base\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN false; true\n").refused();
    Case::new("FROM base\nSHELL [\"/bin/echo\"]\nCMD a b\nENTRYPOINT c\nHEALTHCHECK CMD d\n").same();
    Case::new("FROM base AS one\nSHELL [\"/bin/sh\", \"-ec\"]\nFROM one\nRUN echo $- >/1\nCMD a\n").same();
    Case::new("FROM base\nSHELL [\"/bin/sh\", \"-c\", \"echo $0 $1 >/1\"]\nRUN a b\n").same();
}

#[test]
fn the_user_and_the_author() {
    Case::new("FROM base\nUSER  bob : users \nMAINTAINER a b <c@d>\n").same();
    Case::new("FROM base\nUSER 0:0\nUSER \"bob\"\n").same();
    Case::new("FROM base\nUSER $NOTHING\n").same();
    Case::new("FROM base\nUSER\n").refused();
}

#[test]
fn labels_and_variables_of_odd_names() {
    Case::new("FROM base\nLABEL \"com.example/a b\"=\"1 2\" multi=\"a \\\nb\" empty=\nENV a.b=1 A-B=2 _=3\nRUN env | sort >/1\n").same();
    Case::new("FROM base\nENV A=1\nENV A=$A-2 B=$A\nENV A=$B$A\nENV a=lower\nENV LONG=$PATH:$A\n").same();
    Case::new("FROM base\nENV ABC=hello\nENV ABC=bye DEF=$ABC\nENV GHI=$ABC\n").same();
    for wrong in ["ENV A=1 B", "ENV =1", "LABEL a=b c", "LABEL", "ENV", "LABEL a"] {
        Case::new(&format!("FROM base\n{wrong}\n")).refused();
    }
}

#[test]
fn ports() {
    Case::new("FROM base\nARG P=90-91\nEXPOSE 80/TCP 53/udp 9/sctp $P/udp 08 443/\n").same();
    for wrong in ["80/icmp", "70000", "81-80", "-1", "a-b", "80/tcp/udp", "", "80 x"] {
        Case::new(&format!("FROM base\nEXPOSE {wrong}\n")).refused();
    }
}

#[test]
fn flags_that_an_instruction_does_not_have() {
    for wrong in [
        "RUN --nothing true",
        "RUN --network true",
        "RUN --network=some true",
        "RUN --security=open true",
        "RUN --mount=type=what,target=/x true",
        "RUN --mount=target=/x,what=1 true",
        "COPY --chown a /x",
        "COPY --checksum=sha256:0 a /x",
        "COPY --keep-git-dir a /x",
        "COPY --link=perhaps a /x",
        "ADD --from=one a /x",
        "ADD --checksum=sha256:00 http://127.0.0.1:1/x /x",
        "ADD --checksum=sha256:0000000000000000000000000000000000000000000000000000000000000000 a /x",
        "USER --x y",
        "ENV --x=1 A=1",
        "LABEL --x=1 A=1",
        "WORKDIR --x=1 /w",
        "CMD --x=1 a",
        "ENTRYPOINT --x=1 a",
        "EXPOSE --x=1 80",
        "VOLUME --x=1 /v",
        "SHELL --x=1 [\"/bin/sh\"]",
        "ONBUILD --x=1 RUN true",
        "MAINTAINER --x=1 me",
    ] {
        Case::new(&format!("FROM base\n{wrong}\n")).file("a", "a").refused();
    }
    Case::new("FROM --x=1 base\n").refused();
    Case::new("FROM base\nARG --x=1 A=1\nLABEL a=$A\n").same();
    Case::new("FROM base\nRUN -- true\nCOPY -- a /2\nCMD -x --y\n").file("a", "a").same();
}
