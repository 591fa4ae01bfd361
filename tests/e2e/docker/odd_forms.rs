//! Forms at the edge: both builders take them and make the same of them, or both refuse them.

use super::Case;

#[track_caller]
fn alike(dockerfiles: &[&str]) {
    for dockerfile in dockerfiles {
        Case::new(dockerfile).file("a", "a").file("b", "b").file("d/e", "e").alike();
    }
}

#[test]
fn copies() {
    alike(&[
        "FROM base\nCOPY --from=\"\" a /x\n",
        "FROM base\nCOPY --chown= --chmod= a /x\n",
        "FROM base\nCOPY --exclude= a /x\n",
        "FROM base\nCOPY --link=false --link a /x\n",
        "FROM base\nCOPY --link=TRUE a /x\n",
        "FROM base\nCOPY --chown=a:b:c a /x\n",
        "FROM base\nCOPY --chown=-1 a /x\n",
        "FROM base\nCOPY --chmod=0o755 a /x\n",
        "FROM base\nCOPY --chmod=00000755 a /x\n",
        "FROM base\nCOPY --chmod=77777 a /x\n",
        "FROM base\nCOPY a \"\"\n",
        "FROM base\nCOPY \"\" /x\n",
        "FROM base\nCOPY a $NOTHING\n",
        "FROM base\nCOPY $NOTHING /x\n",
        "FROM base\nCOPY []\n",
        "FROM base\nCOPY [ \"a\" /x ]\n",
        "FROM base\nCOPY http://x/y /x\n",
        "FROM base\nCOPY https://x/y.git /x\n",
        "FROM base\nCOPY git@github.com:a/b.git /x\n",
        "FROM base\nADD --checksum=abc a /x\n",
        "FROM base\nADD --unpack=maybe a /x\n",
        "FROM base\nADD --keep-git-dir=true a /x\n",
        "FROM base\nCOPY <<EOF /a/ /b/\nx\nEOF\n",
        "FROM base\nCOPY --exclude=[ a /x\n",
        "FROM base\nCOPY [a /x\n",
        "FROM base\nCOPY a\\* /x\n",
        "FROM base\nCOPY a/ /x\n",
        "FROM base\nCOPY a/. /x\n",
        "FROM base\nCOPY a/b /x\n",
        "FROM base\nCOPY d/e/ /x/\n",
        "FROM base\nCOPY ./ ./\n",
        "FROM base\nCOPY / /x\n",
        "FROM base\nCOPY .. /x\n",
        "FROM base\nCOPY a b c /x\n",
        "FROM base\nCOPY --chown=0:0 \\\n  --chmod=0644 \\\n  a /x\n",
        "FROM base\nCOPY <<\"\" /x\n\n",
        "FROM base\nCOPY --from=0 a /x\n",
        "FROM base\nCOPY --from=-1 a /x\n",
        "FROM base\nCOPY --from=1 a /x\n",
        "FROM base\nCOPY --chmod=a+s a /x\n",
        "FROM base\nCOPY --chmod=+t a /x\n",
        "FROM base\nCOPY --chmod=u= a /x\n",
        "FROM base\nCOPY --chmod=ug+rw,o-rwx a /x\n",
        "FROM base\nCOPY --chmod=, a /x\n",
        "FROM base\nCOPY --chmod=g=u,o=g a /x\n",
        "FROM base\nCOPY --chown=$X:$Y a /x\n",
        "FROM base\nCOPY --chown=0x10 a /x\n",
        "FROM base\nCOPY --chown=4294967296 a /x\n",
        "FROM base\nADD a b /x/\n",
        "FROM base\nADD a b /x\n",
        "FROM base\nCOPY *.none /x\n",
        "FROM base\nCOPY *.none a /x\n",
        "FROM base\nCOPY a a /x/\n",
        "FROM base\nCOPY d d/e /x/\n",
        "FROM base\nADD ftp://x/y /x\n",
    ]);
}

#[test]
fn runs() {
    alike(&[
        "FROM base\nRUN --network= true\n",
        "FROM base\nRUN --network=NONE true\n",
        "FROM base\nRUN --security= true\n",
        "FROM base\nRUN --security=SANDBOX true\n",
        "FROM base\nRUN --mount= true\n",
        "FROM base\nRUN --mount=type= true\n",
        "FROM base\nRUN --mount=type=tmpfs,target=/x,target=/y true\n",
        "FROM base\nRUN --mount=type=bind,target=/x,from= true\n",
        "FROM base\nRUN --mount=type=cache,target=/x,sharing=SHARED true\n",
        "FROM base\nRUN --mount=type=cache,target=/x,mode= true\n",
        "FROM base\nRUN --mount=type=cache,target=/x,uid=-1 true\n",
        "FROM base\nRUN --mount=type=secret,target=/x true\n",
        "FROM base\nRUN --mount=type=secret,id=a,source=b true\n",
        "FROM base\nRUN --mount=type=tmpfs,target=/x,size=1.5g true\n",
        "FROM base\nRUN --mount=type=tmpfs,target=/x,size=-1 true\n",
        "FROM base\nRUN --mount=type=tmpfs,source=/y,target=/x true\n",
        "FROM base\nRUN --mount=target=/x,source=../.. true\n",
        "FROM base\nRUN --mount=target=/proc/x true\n",
        "FROM base\nRUN --mount=target=/x --mount=target=/x true\n",
        "FROM base\nRUN true\nFROM base AS base\n",
        "FROM base\nRUN true \\\n",
        "FROM base\nRUN --mount=type=bind,target=/x \\\n  --network=none \\\n  true\n",
        "FROM base\nRUN <<EOF\n",
        "FROM base\nRUN cat <<<x\n",
        "FROM base\nRUN echo $((1 << 2))\n",
        "FROM base\nRUN echo \"<<EOF\n\"\n",
        "FROM base\nRUN [\"true\"] \n",
        "FROM base\nRUN [\"true\", \"$PATH\"]\n",
        "FROM base\nRUN [ \"true\" ] && true\n",
    ]);
}

#[test]
fn others() {
    alike(&[
        "FROM base\nUSER a:b:c\n",
        "FROM base\nWORKDIR\n",
        "FROM base\nVOLUME\n",
        "FROM base\nEXPOSE\n",
        "FROM base\nEXPOSE $X\n",
        "FROM base\nENV \"a b\"=c\n",
        "FROM base\nARG 1a=2\n",
        "FROM base\nENV 1a=2\n",
        "FROM base\nCMD [\"a\", \"b\"]\nCMD [\"c\"]\n",
        "FROM base\nFROM scratch\n",
        "FROM base\nENTRYPOINT [\"a\"] b\n",
        "FROM base\nLABEL a=\"b\nc\"\n",
        "FROM base\nUSER 4294967296\nRUN true\n",
        "FROM base\nUSER -1\nRUN true\n",
        "FROM base\nUSER bob:\nRUN true\n",
        "FROM base\nUSER :users\nRUN true\n",
        "FROM base\nENV PATH=\nRUN true\n",
        "FROM base\nSHELL [\"nothing\"]\nRUN true\n",
        "FROM base\nWORKDIR /data/loop/x\n",
        "FROM base\nVOLUME /v /v/../w\n",
        "FROM base\nEXPOSE 80 80/tcp 080\n",
        "FROM base\nLABEL a=b \\\n# c\n\n c=d\n",
        "FROM base\nARG A=1 \\\n  B=2\n",
        "FROM base\nENV A=1 \\\n  # c\n  B=2\n",
    ]);
}

#[test]
fn stages() {
    alike(&[
        "FROM base AS 1\n",
        "FROM base AS a\nFROM base\nCOPY --from=A /etc/passwd /x\n",
        "FROM base AS a\nFROM base\nCOPY --from=00 /etc/passwd /x\n",
        "FROM base AS a\nFROM base\nCOPY --from=+0 /etc/passwd /x\n",
        "FROM base AS a\nFROM base\nRUN --mount=from=A,target=/x true\n",
        "FROM base AS a\nFROM base\nCOPY --from=a ../../etc/passwd /x\n",
        "FROM base AS a\nFROM base\nCOPY --from=a \"\" /x\n",
        "FROM base AS a\nFROM base\nCOPY --from=a . /x\n",
    ]);
}
