//! `ONBUILD`, of a stage and of an image.

use super::Case;

#[test]
fn triggers_of_an_image() {
    Case::new("FROM onbuild\nRUN ls / >/after\n").file("given", "given\n").same();
    Case::new("FROM onbuild AS one\nFROM one\nRUN ls / >/after\n").file("given", "given\n").same();
    Case::new("FROM onbuild\nUSER bob\nONBUILD USER nobody\n").file("given", "given\n").same();
    // Its triggers want a file.
    Case::new("FROM onbuild\n").refused();
}

#[test]
fn triggers_with_the_files_of_a_stage_and_here_documents() {
    Case::new(concat!(
        "FROM base AS tools\nRUN echo t >/tool\nFROM base AS parent\nONBUILD COPY --from=tools /tool /x\n",
        "ONBUILD RUN <<EOF\necho here >/y\nEOF\nONBUILD COPY <<EOF /z\n$PATH\nEOF\nFROM parent\n",
    ))
    .same();
    Case::new("FROM base AS parent\nONBUILD RUN --mount=target=/c cat /c/a >/x\nONBUILD ARG A=1\nONBUILD LABEL a=$A\nFROM parent\n")
        .file("a", "a\n")
        .same();
}

#[test]
fn triggers_fire_once_and_in_order() {
    Case::new("FROM base AS one\nONBUILD RUN echo 1 >>/x\nONBUILD RUN echo 2 >>/x\nRUN echo 0 >/x\nFROM one AS two\nFROM two\nRUN echo 3 >>/x\n").same();
    Case::new("FROM base AS one\nONBUILD USER bob\nONBUILD WORKDIR /w\nONBUILD ENV A=1 B=$A\nFROM one\n").same();
    Case::new("FROM base\nONBUILD CMD [\"a\"]\nONBUILD run   echo  a  b\nONBUILD ENTRYPOINT a b\n").same();
}

#[test]
fn triggers_that_are_none() {
    for wrong in ["ONBUILD", "ONBUILD ONBUILD RUN x", "ONBUILD FROM base", "ONBUILD MAINTAINER x"] {
        Case::new(&format!("FROM base\n{wrong}\n")).refused();
    }
}
