//! `ARG`, the arguments that are always there, and `FROM` with both.

use super::Case;

#[test]
fn predefined_arguments_of_the_platform() {
    let names = "BUILDPLATFORM BUILDOS BUILDOSVERSION BUILDARCH BUILDVARIANT TARGETPLATFORM TARGETOS TARGETOSVERSION TARGETARCH TARGETVARIANT TARGETSTAGE";
    let all: String = names.split(' ').map(|name| format!("ARG {name}\n")).collect();
    let labels: String = names.split(' ').map(|name| format!("LABEL {name}=\"${{{name}-unset}}\"\n")).collect();
    Case::new(&format!("FROM base AS last\n{all}{labels}RUN env | sort >/1\n")).same();
    Case::new(&format!("FROM base AS one\n{all}{labels}FROM base\n")).flag("--target=one").same();
    // Not declared, they are not there.
    Case::new(&format!("FROM base\n{labels}")).same();
    // Given, and with a default of the Dockerfile's own.
    Case::new("FROM base\nARG TARGETARCH=mine\nARG BUILDOS\nLABEL a=$TARGETARCH b=$BUILDOS\n")
        .flag("--build-arg=BUILDOS=plan9")
        .same();
}

#[test]
fn a_platform_of_from() {
    Case::new("FROM --platform=$BUILDPLATFORM base\nARG TARGETPLATFORM\nRUN echo $TARGETPLATFORM >/1\n").same();
    Case::new("FROM --platform=linux/amd64 base AS a\nFROM --platform=${TARGETPLATFORM:-x} a\nRUN true\n").same();
    Case::new("ARG P=linux/amd64\nFROM --platform=$P base\n").same();
    Case::new("FROM --platform=nonsense/a/b/c base\n").refused();
    Case::new("FROM --platform=$NOTHING base\n").refused();
    Case::new("FROM --platform base\n").refused();
}

#[test]
fn arguments_before_from() {
    Case::new("ARG A=1\nARG B=${A}2\nARG C\nFROM base\nARG A\nARG B=own\nARG C=default\nLABEL a=$A b=$B c=$C\n").same();
    Case::new("ARG A=1\nFROM base\nLABEL a=\"${A-unset}\"\n").same();
    Case::new("ARG A=1\nFROM base\nARG A=2\nFROM base\nARG A\nLABEL a=$A\n").same();
    Case::new("ARG A=1\nFROM base\nARG A\nLABEL a=$A\n").flag("--build-arg=A=given").same();
    Case::new("ARG A=1\nARG A=2\nFROM base\nARG A\nLABEL a=$A\n").same();
    Case::new("ARG IMAGE=base\nFROM ${IMAGE}x\n").refused();
    Case::new("ARG E=\nFROM $E\n").refused();
}

#[test]
fn the_last_of_two_declarations_counts() {
    Case::new("FROM base\nARG A=1\nLABEL a=$A\nARG A=2\nLABEL b=$A\nARG A\nLABEL c=$A\n").same();
    Case::new("FROM base\nARG A=1\nARG A\nLABEL c=$A\nRUN echo $A >/1\n").flag("--build-arg=A=x").same();
}

#[test]
fn variables_of_the_environment_win() {
    Case::new("FROM base\nENV A=env\nARG A=arg\nLABEL a=$A\nRUN echo $A >/1\n").flag("--build-arg=A=given").same();
    Case::new("FROM base\nARG A=arg\nENV A=$A-env\nLABEL a=$A\nRUN echo $A >/1\n").flag("--build-arg=A=given").same();
}

#[test]
fn stages_inherit_the_arguments_of_their_base() {
    Case::new(
        "FROM base AS one\nARG A=1\nENV B=$A\nFROM one\nLABEL a=\"${A-unset}\" b=$B\nRUN echo \"${A-unset}\" >/1\n",
    )
    .same();
    Case::new("FROM base AS one\nARG A=1\nFROM base\nLABEL a=\"${A-unset}\"\n").same();
}

#[test]
fn several_at_once_with_quotes() {
    Case::new("FROM base\nARG A=1 B=\"two words\" C='$A' D=$A\\ x E\nLABEL a=$A b=$B c=$C d=$D e=\"${E-unset}\"\nRUN env | sort >/1\n").same();
    Case::new("FROM base\nARG A = 1\n").refused();
    Case::new("FROM base\nARG\n").refused();
}

#[test]
fn arguments_of_the_command_line_that_nobody_declares() {
    Case::new("FROM base\nRUN env | sort >/1\nLABEL a=\"${A-unset}\" p=\"${HTTP_PROXY-unset}\"\n")
        .flag("--build-arg=A=1")
        .flag("--build-arg=HTTP_PROXY=http://127.0.0.1:1")
        .flag("--build-arg=no_proxy=localhost")
        .same();
    Case::new("FROM base\nARG HTTP_PROXY\nLABEL p=\"${HTTP_PROXY-unset}\"\nRUN env | sort >/1\n")
        .flag("--build-arg=HTTP_PROXY=http://127.0.0.1:1")
        .same();
}

#[test]
fn an_argument_where_a_name_of_a_tree_stands() {
    Case::new("FROM base AS one\nFROM base\nARG S=one\nCOPY --from=$S /etc/passwd /x\n").refused();
    Case::new("FROM base AS one\nFROM base\nARG S=one\nRUN --mount=from=$S,target=/x true\n").refused();
    Case::new("FROM base\nARG T=/m K=tmpfs\nRUN --mount=type=$K,target=$T/x ls $T >/1\n").same();
    Case::new("FROM base\nARG N=none\nRUN --network=$N true\n").refused();
}

#[test]
fn arguments_of_buildkit() {
    Case::new("FROM base\nARG BUILDKIT_SANDBOX_HOSTNAME\nRUN hostname >/1; cat /etc/hosts >/2; env | sort >/3\n")
        .flag("--build-arg=BUILDKIT_SANDBOX_HOSTNAME=my-host")
        .same();
    Case::new("FROM base\nRUN hostname >/1; env | sort >/3\n")
        .flag("--build-arg=BUILDKIT_SANDBOX_HOSTNAME=")
        .flag("--build-arg=BUILDKIT_NOTHING=1")
        .same();
    let name = format!("shiplap-test-ns-{}", std::process::id());
    Case::new(&format!("FROM base\nRUN --mount=type=cache,id={name},target=/c echo 1 >/c/1\nRUN --mount=type=cache,id={name},target=/c ls /c >/1\n"))
        .flag("--build-arg=BUILDKIT_CACHE_MOUNT_NS=one")
        .same();
}

#[test]
fn the_time_of_the_source() {
    Case::new("FROM base\nARG SOURCE_DATE_EPOCH\nRUN echo \"$SOURCE_DATE_EPOCH\" >/1\n")
        .flag("--build-arg=SOURCE_DATE_EPOCH=1700000000")
        .same();
    Case::new("FROM base\nRUN echo \"${SOURCE_DATE_EPOCH-unset}\" >/1\n")
        .flag("--build-arg=SOURCE_DATE_EPOCH=1700000000")
        .same();
    Case::new("FROM base\nRUN true\n").flag("--build-arg=SOURCE_DATE_EPOCH=yesterday").refused();
}
