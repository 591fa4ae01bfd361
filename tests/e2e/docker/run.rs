//! What `RUN` leaves behind.

use super::Case;

#[test]
fn deletes_renames_and_replaces() {
    Case::new(concat!(
        "FROM base\nRUN rm -r /data/dir /data/file\nRUN mv /data/owned /moved && mv /data/tool /data/tool2\n",
        "RUN mkdir /data/file && echo x >/data/file/x\nRUN rm -r /data/file && echo back >/data/file\n",
        "RUN mkdir /data/dir && echo new >/data/dir/new\n",
    ))
    .same();
}

#[test]
fn a_folder_that_is_emptied_and_filled_again() {
    Case::new("FROM base\nRUN rm -r /data/dir && mkdir /data/dir && echo n >/data/dir/n\nRUN rm -rf /data && mkdir -m 711 /data\n")
        .same();
}

#[test]
fn a_folder_that_is_renamed_over_and_back() {
    Case::new("FROM base\nRUN mv /data/dir /data/x && ln -s x /data/dir\nRUN rm /data/dir && mv /data/x /data/dir\n")
        .same();
}

#[test]
fn links_over_layers() {
    Case::new(concat!(
        "FROM base\nRUN ln /data/tool /data/tool-too\nRUN echo 1 >/h1 && ln /h1 /h2 && ln /h1 /data/h3\nRUN rm /h1\n",
        "RUN echo 2 >>/h2\nRUN ln -s /h2 /s && chmod 600 /data/second\n",
    ))
    .same();
}

#[test]
fn devices_and_pipes() {
    Case::new(
        "FROM base\nRUN mknod /null c 1 3 && mknod -m 600 /disk b 7 1 && mkfifo -m 622 /pipe\nRUN mv /null /zero\n",
    )
    .same();
}

#[test]
fn modes_and_owners() {
    Case::new(concat!(
        "FROM base\nRUN chmod 4755 /data/file && chown 1:2 /data/dir && chmod 1777 /data/dir/sub\n",
        "RUN mkdir -m 2775 /set && touch /set/x && chown -h 3:4 /data/link && chmod 0 /data/tool\nRUN touch -d 2001-01-01 /data/owned\n",
    ))
    .same();
}

#[test]
fn attributes_stay_with_a_file_that_is_changed() {
    let mut tar = super::base::Tar(tar::Builder::new(Vec::new()));
    tar.xattr("user.note", b"hello");
    tar.file("x/file", b"f", 0o644, 0);
    tar.xattr(
        "security.capability",
        b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    );
    tar.file("x/ping", b"p", 0o755, 0);
    tar.xattr("user.dir", b"d");
    tar.dir("x/dir", 0o755, 0);
    Case::new(concat!(
        "FROM base AS one\nADD a.tar /\nRUN chmod 600 /x/file && touch /x/ping && echo 1 >/x/dir/new && chmod 711 /x/dir\n",
        "FROM base\nCOPY --from=one /x /y\nCOPY --from=one --chown=bob /x /z\nCOPY --from=one --link /x/file /w/\nRUN mv /y/file /v\n",
    ))
    .file("a.tar", tar.bytes())
    .same();
}

#[test]
fn nothing_is_left_of_what_the_builder_mounts() {
    Case::new(concat!(
        "FROM base\nRUN true\nRUN echo >>/etc/hosts; cat /etc/resolv.conf >/dev/null; ls -a / /etc /dev >/listing; ",
        "ls -ld /proc /sys /dev /tmp /dev/shm | cut -c1-10 >>/listing; hostname >>/listing; cat /proc/self/comm >>/listing\n",
    ))
    .same();
}

#[test]
fn files_of_etc_that_the_image_has() {
    Case::new("FROM base\nCOPY hosts /etc/hosts\nCOPY hosts /etc/resolv.conf\nRUN echo more >>/etc/hosts; echo x >/x\nRUN rm -f /etc/hosts || true\n")
        .file("hosts", "of the image\n")
        .same();
}

#[test]
fn in_an_image_with_nothing_but_a_shell() {
    Case::new("FROM base AS b\nFROM scratch\nCOPY --from=b /bin /bin\nENV PATH=/bin\nRUN echo x >/x && ls -la /bin | cut -c1-10 >/y\n")
        .same();
}

#[test]
fn capabilities_limits_and_proc() {
    Case::new(concat!(
        "FROM base\nRUN grep -E 'Cap|NoNewPrivs' /proc/self/status >/1; ls /dev | sort >/2\n",
        "RUN cat /proc/sys/kernel/hostname >/3; ls -l /dev/stdin /dev/fd /dev/ptmx | sed 's/.* //' >/4; ls -ld /dev/shm | cut -c1-10 >>/4\n",
        "RUN for at in /proc/sys /proc/irq /proc/bus /sys /proc/fs; do grep \" $at \" /proc/self/mountinfo | cut -d' ' -f5,6; done >/5\n",
        "RUN ls /proc/acpi /sys/firmware /proc/scsi 2>&1 | head -3 >/6; ls /proc/self/fd | wc -l >/7\n",
    ))
    .same();
}

#[test]
fn the_environment() {
    Case::new(concat!(
        "ARG OUTER=outer\nFROM base\nARG OUTER\nARG IN=in\nARG UNSET\nENV A=1 B=\"two words\" C=$A-$IN\nRUN env | sort >/1\n",
        "ENV A=2\nRUN env | sort >/2\nARG A=3\nRUN env | sort >/3\nENV PATH=/opt:$PATH E=\nRUN env | sort >/4\nARG GIVEN=default\n",
        "RUN env | sort >/5\nARG TARGETARCH\nARG TARGETPLATFORM BUILDPLATFORM\nRUN env | sort >/6\n",
    ))
    .flag("--build-arg=GIVEN=given")
    .flag("--build-arg=http_proxy=http://127.0.0.1:1")
    .same();
}

#[test]
fn the_forms_of_a_command() {
    Case::new(concat!(
        "FROM base\nRUN [\"/bin/sh\", \"-c\", \"echo $0 $A >/1\", \"zero\"]\nRUN [\"touch\", \"/2 two\"]\nRUN echo a \\\n # comment\n  b >/3\n",
        "RUN <<EOF\necho one >/4\necho $HOME '$X' >>/4\nEOF\nRUN <<'EOF' cat >/5\nraw $X \\n\nEOF\n",
        "RUN <<A cat >/6 && cat <<B >/7\na\nA\nb $HOME\nB\nRUN <<EOF\n#!/bin/cat\nshebang\nEOF\n",
        "SHELL [\"/bin/sh\", \"-ec\"]\nRUN echo $- >/8\nRUN <<-EOF\n\techo tabs >/9\n\tEOF\n",
    ))
    .same();
}

#[test]
fn a_heredoc_runs_to_its_end_as_a_shell_does() {
    Case::new("FROM base\nRUN <<EOF\nfalse\necho on >/1\nEOF\n").same();
}

#[test]
fn a_command_that_fails() {
    Case::new("FROM base\nRUN echo x >/x; exit 3\n").refused();
    Case::new("FROM base\nRUN nothing-of-this-name\n").refused();
    Case::new("FROM base\nRUN [\"/nothing\"]\n").refused();
    Case::new("FROM base\nRUN [\"/data/file\"]\n").refused();
    Case::new("FROM base\nRUN sh -c 'kill -9 $$'; exit $?\n").refused();
    Case::new("FROM scratch\nRUN true\n").refused();
}

#[test]
fn no_network() {
    Case::new("FROM base\nRUN --network=none ip -o link | cut -d: -f2 | cut -c1-3 | sort -u >/1; ls /sys/class/net >/2; cat /etc/hosts | wc -l >/3\n").same();
}

#[test]
fn a_working_directory_that_is_gone() {
    Case::new("FROM base\nWORKDIR /gone\nRUN rmdir /gone\nRUN pwd >/1\n").same();
}

#[test]
fn long_names_and_odd_bytes() {
    let long = "n".repeat(200);
    Case::new(&format!("FROM base\nRUN mkdir -p /{long}/{long} && echo x >/{long}/{long}/{long} && ln -s {long}/{long} /l\nRUN touch '/a b' '/back\\slash' '/qu\"ote' '/new\nline' /tr\u{fc}\n").replace("/new\nline", "/new line"))
        .same();
}

#[test]
fn times_before_and_far_after() {
    Case::new("FROM base\nRUN touch -d '1960-01-01 00:00' /old && touch -d '2100-01-01 00:00' /new\n").same();
}
