//! Here-documents.

use super::Case;

#[test]
fn a_space_a_number_and_a_name_in_part_quoted() {
    Case::new("FROM base\nRUN cat << EOF >/1\na\nEOF\nRUN cat <<\tEOF >/2\nb\nEOF\n").same();
    Case::new("FROM base\nRUN 3<<EOF cat <&3 >/1\n$HOME a\nEOF\n").same();
    Case::new("FROM base\nRUN <<E\"O\"F cat >/1\n$HOME\nEOF\nCOPY <<E'O'F /2\n$PATH\nEOF\n").same();
    Case::new("FROM base\nRUN <<end-of_it.1 cat >/1\nx\nend-of_it.1\n").same();
}

#[test]
fn tabs_and_an_interpreter() {
    Case::new("FROM base\nRUN <<-EOF\n\t#!/bin/sh\n\techo a >/1\n\tcat <<-X >/2\n\t\tdeep\n\tX\n\tEOF\n").same();
    Case::new("FROM base\nRUN <<-EOF cat >/1\n\ta\n\t\tb\n \tc\n\tEOF\nCOPY <<-EOF /2\n\ta\n\t\tb\n \tc\n\t\t\tEOF\n")
        .same();
    Case::new("FROM base\nRUN <<EOF\n#!/bin/awk BEGIN{print \"x\"}\nEOF\n").same();
    Case::new("FROM base\nSHELL [\"/bin/sh\", \"-xc\"]\nRUN <<EOF\n#!/bin/sh\necho $0 >/1\nEOF\n").same();
    Case::new("FROM base\nRUN <<EOF\n#!/nothing\necho\nEOF\n").refused();
}

#[test]
fn the_end_of_lines_of_windows() {
    Case::new("FROM base\r\nRUN <<EOF cat >/1\r\na\r\nb\r\nEOF\r\nCOPY <<EOF /2\r\nc\r\nEOF\r\nENV A=1 \\\r\n  B=2\r\nCMD [\"a\"]\r\n").same();
}

#[test]
fn in_add_and_several_of_one_name() {
    Case::new("FROM base\nADD <<EOF /1\na $PATH\nEOF\nADD <<a <<'b' a.txt /d/\n1\na\n$2\nb\n")
        .file("a.txt", "a")
        .same();
    Case::new("FROM base\nCOPY <<EOF <<EOF /d/\none\nEOF\ntwo\nEOF\n").same();
    Case::new("FROM base\nRUN cat <<EOF >/1; cat <<EOF >/2\none\nEOF\ntwo\nEOF\n").same();
}

#[test]
fn nothing_in_it_and_nothing_after_it() {
    Case::new("FROM base\nCOPY <<EOF /1\nEOF\nRUN <<EOF cat >/2\nEOF\n").same();
    Case::new("FROM base\nCOPY <<EOF /1\nlast\nEOF").same();
    Case::new("FROM base\nRUN <<EOF\nEOF\n").same();
    Case::new("FROM base\nCOPY <<EOF /1\nnever closed\n").refused_for("unterminated heredoc", "not closed");
    Case::new("FROM base\nCOPY <<EOF /1\nspace behind\nEOF \nEOF\n").same();
}

#[test]
fn words_around_it() {
    Case::new("FROM base\nRUN <<EOF sh -s a b >/1\necho $1 $2 $#\nEOF\n").same();
    Case::new("FROM base\nRUN sh <<EOF && echo done >/2\necho x >/1\nEOF\n").same();
    Case::new("FROM base\nRUN <<EOF sh | cat >/1\necho x\nEOF\nRUN cat <<A - <<B >/2\na\nA\nb\nB\n").same();
    Case::new("FROM base\nRUN --mount=type=tmpfs,target=/t --network=none <<EOF\necho x >/t/x\ncat /t/x >/1\nEOF\n")
        .same();
}

#[test]
fn what_only_looks_like_one() {
    Case::new("FROM base\nRUN echo a # <<EOF\n").refused_for("unterminated heredoc", "not closed");
    Case::new("FROM base\nRUN echo '<<EOF' \"<<EOF\" \\<\\<EOF $((1<<2)) >/1\nENV A=<<EOF\nLABEL b=\"<<EOF\"\nCMD cat <<EOF\n").same();
    Case::new("FROM base\nRUN [\"/bin/sh\", \"-c\", \"cat <<EOF >/1\\nx\\nEOF\\n\"]\n").same();
}

#[test]
fn lines_that_look_like_instructions_comments_and_continuations() {
    Case::new("FROM base\nCOPY <<EOF /1\n# no comment\nFROM nothing\n\n  \\\nRUN exit 1 \\\n\nEOF\nRUN <<EOF cat >/2\n# c\na \\\nb\n\nEOF\n").same();
    Case::new("# escape=`\nFROM base\nCOPY <<EOF /1\na `\nb \\$PATH\nEOF\nRUN <<'EOF' cat >/2\na `\nb\nEOF\n").same();
}

#[test]
fn variables_in_the_name_of_the_file() {
    Case::new("FROM base\nENV D=/d N=n\nCOPY <<EOF $D/${N}.txt\n$N ${D:-x} \\${N}\nEOF\nCOPY <<$N /e/\nx\n$N\n").same();
}

#[test]
fn a_place_that_is_one_is_refused() {
    Case::new("FROM base\nCOPY a <<EOF\nx\nEOF\n").file("a", "a").refused();
}
