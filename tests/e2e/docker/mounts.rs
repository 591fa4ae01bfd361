//! `RUN --mount`.

use super::Case;

#[test]
fn bind_from_the_context() {
    Case::new(concat!(
        "FROM base\nRUN --mount=target=/src ls -laR /src | cut -c1-10 >/1; cat /src/d/f >/2; touch /src/x 2>/dev/null; echo $? >/3\n",
        "RUN --mount=type=bind,source=d,target=/m/n ls /m/n >/4\nRUN --mount=source=d/f,target=/file cat /file >/5; ls -la /file | cut -c1-10 >>/5\n",
        "RUN --mount=target=/src,rw rm /src/d/f && echo new >/src/new && ls -R /src >/6\nRUN --mount=target=/src ls -R /src >/7\n",
    ))
    .file("d/f", "f\n")
    .file_mode("d/x", "x\n", 0o755)
    .symlink("d/l", "f")
    .same();
}

#[test]
fn bind_from_a_stage_and_an_image() {
    Case::new(concat!(
        "FROM base AS one\nRUN mkdir /made && echo 1 >/made/1 && chown 7:8 /made/1\nFROM base\n",
        "RUN --mount=from=one,target=/one cp -a /one/made /copied; ls /one >/1\n",
        "RUN --mount=from=one,source=/made,target=/made,rw echo 2 >/made/2; ls -la /made | wc -l >/2\n",
        "RUN --mount=from=base,source=/data/link,target=/mnt cat /mnt/inner >/3\n",
    ))
    .same();
}

#[test]
fn bind_onto_what_is_there() {
    Case::new(concat!(
        "FROM base\nRUN --mount=target=/data/dir ls /data/dir >/1\nRUN --mount=source=f,target=/data/file cat /data/file >/2\n",
        "RUN --mount=target=/data/link ls /data/link >/3; ls /data/dir >>/3\nRUN ls /data /data/dir >/4\n",
    ))
    .file("f", "f\n")
    .same();
}

#[test]
fn mounts_without_a_target_are_at_the_working_directory() {
    Case::new("FROM base\nWORKDIR /w\nRUN --mount=type=bind ls >/1\nRUN --mount=type=tmpfs,target= grep -c ' /w tmpfs ' /proc/mounts >/2; touch x\n")
        .file("f", "f\n")
        .same();
    for mount in ["type=tmpfs", "type=bind", "type=cache,target=.", "type=ssh,source=x"] {
        Case::new(&format!("FROM base\nRUN --mount={mount} true\n")).refused();
    }
}

#[test]
fn a_cache_is_named_after_its_target_as_written() {
    let name = format!("shiplap-test-{}", std::process::id());
    Case::new(&format!(
        "FROM base\nWORKDIR /v\nRUN --mount=type=cache,target=./x/../{name} echo 1 >{name}/1\nWORKDIR /w\nRUN --mount=type=cache,target={name} ls {name} >/1\nRUN --mount=type=cache,target=/w/{name} ls {name} >/2\n"
    ))
    .same();
}

#[test]
fn bind_of_what_is_missing() {
    Case::new("FROM base\nRUN --mount=source=nothing,target=/x true\n").refused();
    Case::new("FROM base\nRUN --mount=from=nothing-of-this-name/at-all:1,target=/x true\n").refused();
}

#[test]
fn caches_live_on_and_leave_nothing() {
    // An id of its own: the engine keeps caches for ever.
    let id = format!("shiplap-test-{}", std::process::id());
    Case::new(&format!(
        concat!(
            "FROM base\nRUN --mount=type=cache,id={id},target=/c/d echo 1 >/c/d/1; ls -ld /c /c/d | cut -c1-10 >/1\n",
            "RUN --mount=type=cache,id={id},target=/other ls /other >/2\nRUN ls / >/3\n",
            "RUN --mount=type=cache,id={id}-2,target=/c,uid=3333,gid=100,mode=0710 ls -lnd /c | sed 's/ *root.*//' | cut -c1-34 >/4; touch /c/x\n",
            "RUN --mount=type=cache,id={id}-2,target=/c ls -la /c | wc -l >/tmp/6\n",
        ),
        id = id
    ))
    .same();
}

#[test]
fn a_cache_that_begins_with_the_files_of_a_stage() {
    let id = format!("shiplap-test-from-{}", std::process::id());
    Case::new(&format!(
        concat!(
            "FROM base AS one\nRUN mkdir -m 700 /seed && echo 1 >/seed/1 && chown -R 5:6 /seed\nFROM base\n",
            "RUN --mount=type=cache,id={id},from=one,source=/seed,target=/c echo 2 >/c/2; stat -c '%a %u %g' /c /c/1 /c/2 >/1\n",
            "RUN --mount=type=cache,id={id},from=one,source=/seed,target=/c ls /c >/2\n",
        ),
        id = id
    ))
    .same();
}

#[test]
fn tmpfs() {
    Case::new("FROM base\nRUN --mount=type=tmpfs,target=/t/u echo x >/t/u/x; ls -ld /t/u | cut -c1-10 >/1\nRUN --mount=type=tmpfs,target=/data/dir ls /data/dir >/2\nRUN ls /data/dir >/3\n")
        .same();
}

#[test]
fn secrets() {
    Case::new(concat!(
        "FROM base\nRUN --mount=type=secret,id=s cat /run/secrets/s >/1; ls -la /run/secrets/s | cut -c1-10 >/2; ls -ld /run /run/secrets | cut -c1-10 >>/2\n",
        "RUN --mount=type=secret,id=s,target=/a/b cat /a/b >/3\nRUN --mount=type=secret,id=s,env=TOKEN echo \"$TOKEN\" >/4; ls /run >>/4 2>&1; true\n",
        "RUN --mount=type=secret,id=s,target=/x,env=TOKEN cat /x >/5; echo $TOKEN >>/5\nRUN --mount=type=secret,id=none ls /run/secrets >/6 2>&1; true\n",
        "USER bob\nRUN --mount=type=secret,id=s,uid=3333,gid=100,mode=0440 cat /run/secrets/s >/tmp/7; ls -ln /run/secrets/s | cut -c1-34 >>/tmp/7\n",
        "RUN --mount=type=secret,id=s cat /run/secrets/s >/tmp/8 2>&1; true\nRUN env | sort >/tmp/9; ls -a / >>/tmp/9\n",
    ))
    .file("../secret", "a secret\n")
    .flag("--secret=id=s,src={dir}/secret")
    .same();
}

#[test]
fn a_secret_that_must_be_there() {
    Case::new("FROM base\nRUN --mount=type=secret,id=s,required true\n").refused();
}

#[test]
fn several_mounts_one_in_another() {
    Case::new(concat!(
        "FROM base\nRUN --mount=type=tmpfs,target=/t --mount=source=f,target=/t/f --mount=type=tmpfs,target=/t/deep/er ls -R /t >/1\n",
        "WORKDIR /w\nRUN --mount=type=tmpfs,target=rel --mount=source=f,target=g ls >here\nENV AT=/env\nRUN --mount=type=tmpfs,target=$AT/x ls $AT >/2\n",
        "RUN ls /w / >/3\n",
    ))
    .file("f", "f\n")
    .same();
}

#[test]
fn a_mount_over_a_folder_that_the_command_wants_to_remove() {
    Case::new("FROM base\nRUN --mount=type=tmpfs,target=/data/dir rm -rf /data/dir || echo busy >/1\nRUN --mount=type=tmpfs,target=/new/m echo x >/new/kept\n").same();
}

#[test]
fn options_by_their_other_names() {
    Case::new(concat!(
        "FROM base\nRUN --mount=src=d,dst=/x,readonly=false touch /x/new && ls /x >/1\n",
        "RUN --mount=source=d,destination=/x,readwrite=true touch /x/new\nRUN --mount=TYPE=Bind,src=d,Target=/x,ro=false touch /x/new\n",
        "RUN --mount=type=tmpfs,target=/x,size=1m df -k /x 2>/dev/null | tail -1 >/dev/null; echo ok >/2\n",
        "RUN --mount=\"type=bind,src=d,target=/x\" ls /x >/3\n",
    ))
    .file("d/f", "f\n")
    .same();
    // Some say nothing where they stand.
    for idle in ["type=bind,target=/x,env=A,id=b", "type=tmpfs,target=/x,id=a,ro", "type=ssh,env=A,ro"] {
        Case::new(&format!("FROM base\nRUN --mount={idle} true\n")).same();
    }
    for wrong in [
        "type=bind,target=/x,ro=perhaps",
        "type=tmpfs,target=/x,size=big",
        "type=cache,target=/x,sharing=some",
        "type=cache,target=/x,mode=rwx",
        "type=cache,target=/x,uid=bob",
        "type=secret",
        "type=bind,target=/x,id",
        "type=tmpfs,target=/x,required",
        "type=tmpfs,target=/x,sharing=locked",
        "type=bind,target=/x,mode=0700",
        "type=secret,id=x,required=perhaps",
        "target",
    ] {
        Case::new(&format!("FROM base\nRUN --mount={wrong} true\n")).refused();
    }
}

/// What is in a private one is left open: BuildKit may still hold the folder for the step before, and gives an empty one.
#[test]
fn sharing_of_a_cache() {
    let id = format!("shiplap-test-sharing-{}", std::process::id());
    Case::new(&format!(
        concat!(
            "FROM base\nRUN --mount=type=cache,id={id},target=/c,sharing=locked echo 1 >/c/1\n",
            "RUN --mount=type=cache,id={id},target=/c,sharing=shared ls /c >/1\n",
            "RUN --mount=type=cache,id={id},target=/c,sharing=private touch /c/2 && echo 2 >/2\n",
            "RUN --mount=type=cache,id={id},target=/c,readonly touch /c/x 2>/dev/null; echo $? >/3\n",
        ),
        id = id
    ))
    .same();
}

#[test]
fn a_mount_of_a_user_and_of_nothing() {
    Case::new(concat!(
        "FROM base\nUSER bob\nRUN --mount=target=/c cat /c/f >/tmp/1; touch /c/x 2>/dev/null; echo $? >>/tmp/1\n",
        "RUN --mount=type=tmpfs,target=/t touch /t/x; echo $? >/tmp/2; ls -ld /t | cut -c1-10 >>/tmp/2\n",
        "RUN --mount=type=secret,id=none --mount=type=ssh env | sort | grep -v ^SSH >/tmp/3\n",
    ))
    .file("f", "f\n")
    .same();
    Case::new("FROM base\nRUN --mount=type=ssh,required true\n").refused();
    Case::new("FROM base\nRUN --mount=type=bind,from=scratch,target=/s ls -A /s >/1\n").same();
}

#[test]
fn an_agent_belongs_to_whom_the_mount_says() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent");
    // Nobody answers: what is compared is the socket.
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    Case::new(concat!(
        "FROM base\nRUN --mount=type=ssh echo $SSH_AUTH_SOCK >/1; stat -c '%u %g %a %F' $SSH_AUTH_SOCK >>/1; ls -ld /run/buildkit | cut -c1-10 >>/1\n",
        "RUN --mount=type=ssh,uid=3333,gid=100,mode=0660,target=/a/b stat -c '%u %g %a %F' $SSH_AUTH_SOCK >/2; echo $SSH_AUTH_SOCK >>/2\n",
        "WORKDIR /w\nRUN --mount=type=ssh,target=rel --mount=type=ssh test -S rel && ls /run/buildkit >/3; ls /w / >/4\n",
    ))
    .flag(&format!("--ssh=default={}", socket.display()))
    .same();
}
