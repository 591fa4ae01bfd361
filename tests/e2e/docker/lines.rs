//! Lines: comments, continuations, white space, upper and lower case, JSON.

use super::Case;

#[test]
fn comments_and_empty_lines() {
    Case::new(
        "\n# c\n  # c\nFROM base\n\n\t# c\nRUN echo a \\\n# c\n  # c\n  b >/1 # no comment\nLABEL a=b#c d=#e\n# last",
    )
    .same();
    Case::new("FROM base\nRUN echo a \\\n\n\n  b >/1\nENV A=1 \\\n  # c\n  B=2\n").same();
    Case::new("FROM base\nRUN echo a && \\\n    # FROM x\n    echo b >/1\n").same();
}

#[test]
fn continuations_at_the_end_and_twice() {
    Case::new("FROM base\nRUN echo a >/1 \\\n").same();
    Case::new("FROM base\nRUN echo a\\\\\nUSER x\n").same();
    Case::new("FROM base\nENV A=a\\\nb\\\n  c=d\nLABEL x=\"a \\\n  b\" y='c \\\n d'\n").same();
    Case::new("FROM base\nENV A=a \\  \n  B=b \\\t\n  C=c\n").same();
    Case::new("FROM base\nRUN ec\\\nho x >/1\nUS\\\nER y\n").same();
}

#[test]
fn white_space_and_case() {
    Case::new("from base as One\nrun echo a >/1\ncopy a /2\nenv a 1\nWorkDir /w\nFrom one\nlabel  x=y\n")
        .file("a", "a")
        .same();
    Case::new(
        "FROM\tbase\tAS\tone\nRUN\techo a >/1\n   USER   bob   \nENV\tA\tb\tc \nEXPOSE\t80\t81\nVOLUME\t/a\t/b\n",
    )
    .same();
    Case::new("\u{feff}FROM base\nUSER x\n").same();
    Case::new("FROM base \nCOPY   a   /x/   \nADD\ta\t/y/\n").file("a", "a").same();
}

#[test]
fn directives() {
    Case::new("# Escape = `\n#check=skip=all\nFROM base\nENV A=a`\nb\n").same();
    Case::new("# hello\n# escape=`\nFROM base\nENV A=a\\\nb\n").same();
    Case::new("\n# escape=`\nFROM base\nENV A=a\\\nb\n").same();
    Case::new("# escape=`\n# escape=`\nFROM base\n").refused();
    Case::new("# escape=x\nFROM base\n").refused();
    Case::new("# unknown=x\n# escape=`\nFROM base\nENV A=a\\\nb\n").same();
    Case::new("#!/usr/bin/env docker\n# escape=`\nFROM base\nENV A=a`\nb\n").refused();
}

#[test]
fn json_and_what_is_not_quite() {
    for (dockerfile, same) in [
        ("CMD [\"a\", \"b\"]\nENTRYPOINT [ \"c\" ,\"d\\u00e9\\n\" ]\n", true),
        ("CMD ['a']\nENTRYPOINT [\"a\",]\n", true),
        ("CMD [\"a\"] b\n", true),
        ("CMD [\"a\"] # c\n", true),
        ("CMD [\"a\" \"b\"]\n", true),
        ("CMD [\"a\\ud800\"]\n", true),
        ("CMD [\"a\\x\"]\n", true),
        ("CMD [\"a\t\"]\n", true),
        ("CMD []\nENTRYPOINT [\"\"]\n", true),
        ("CMD [a]\n", true),
        ("CMD [\"a\"\n", true),
        ("CMD [1]\n", false),
        ("CMD [\"a\", null]\n", false),
        ("CMD [[\"a\"]]\n", false),
        ("CMD [ -e x ] && y\n", true),
        ("ENTRYPOINT [\"a\", \\\n  \"b\"]\n", true),
        ("VOLUME [\"/a\", \"/b c\"]\nVOLUME ['/a']\n", true),
        ("VOLUME [\"/a\", 1]\n", false),
        ("SHELL [\"/bin/sh\", \"-c\"] x\n", false),
        ("SHELL []\n", false),
        ("SHELL ['a']\n", false),
        ("CMD\n", true),
        ("ENTRYPOINT\n", true),
        ("RUN\nRUN --network=none\n", true),
        ("RUN []\n", false),
    ] {
        let case = Case::new(&format!("FROM base\n{dockerfile}"));
        if same { case.same() } else { case.refused() }
    }
}

#[test]
fn json_of_copies() {
    Case::new("FROM base\nCOPY [\"a\", \"b b\", \"/x/\"]\nADD [ \"a\" , \"/y\" ]\n")
        .file("a", "a")
        .file("b b", "b")
        .same();
    Case::new("FROM base\nCOPY [\"a\", 1]\n").file("a", "a").refused();
    Case::new("FROM base\nCOPY [\"a\"]\n").file("a", "a").refused();
    Case::new("FROM base\nENV A=a\nCOPY [\"$A\", \"/x/${A}\"]\n").file("a", "a").same();
}

#[test]
fn names_of_stages() {
    for (dockerfile, same) in [
        ("FROM base AS a.b-c_d\n", true),
        ("FROM base AS -a\n", false),
        ("FROM base AS a b\n", false),
        ("FROM base a\n", false),
        ("FROM base AS\n", false),
        ("FROM\n", false),
        ("FROM base IS a\n", false),
        ("FROM base as scratchy\nFROM scratchy\nUSER x\n", true),
        ("FROM base AS a\nUSER one\nFROM base AS a\nUSER two\nFROM a\n", true),
        ("FROM base AS a\nFROM A\nUSER two\n", false),
    ] {
        let case = Case::new(dockerfile);
        if same { case.same() } else { case.refused() }
    }
}
