#!/bin/sh
# Builds the images of an instance in a CI job, pushes or releases them, and leaves a report. All templates in this folder call it.
#
# Run it at the top of a checkout that has a shiplap.toml. Variables say what to do:
#
#   SHIPLAP_INSTANCE     the instance of shiplap.toml [the only one]
#   SHIPLAP_CACHE        where cached steps come from, as `--cache-from` takes it: type=registry,ref=registry.example.org/campus/cache
#                        Several have blanks between them. [those of `cache` in shiplap.toml]
#   SHIPLAP_CACHE_WRITE  true: what this job makes goes into the caches. false: nothing is written to any of them [false]
#   SHIPLAP_PUSH         a registry and path, as in registry.example.org/campus: the image NAME is pushed as PATH/NAME:TAG [no push]
#   SHIPLAP_PUSH_TAG     that TAG [ci- and the first 12 digits of the commit]
#   SHIPLAP_VERSION      release this version, 1.4.0 or v1.4.0 [no release]
#   SHIPLAP_REPORT       the folder for report.json and summary.md [shiplap-report]
#   SHIPLAP_HOME         the store [a new one in TMPDIR, removed at the end]
#   TMPDIR               a folder on a local file system: overlayfs, which a container's own files are on, is none [/tmp]
#   DOCKER_CONFIG        the folder of a config.json with the logins of registries [~/.docker]
#
# It ends with the exit code of the `shiplap` that failed; `shiplap --help` says what they mean. Needs shiplap, git and jq.
set -euf

fail() {
    printf 'build.sh: %s\n' "$*" >&2
    exit 2
}

for program in shiplap git jq; do
    command -v "$program" >/dev/null || fail "$program is not in PATH"
done
[ -e "${SHIPLAP_CONFIG:-shiplap.toml}" ] || fail "there is no shiplap.toml in $PWD: run it at the top of the checkout, or set SHIPLAP_CONFIG"

instance=${SHIPLAP_INSTANCE:-}
cache=${SHIPLAP_CACHE:-}
write=${SHIPLAP_CACHE_WRITE:-false}
push=${SHIPLAP_PUSH:-}
version=${SHIPLAP_VERSION:-}
report=${SHIPLAP_REPORT:-shiplap-report}

case $write in
true) ;;
# Whoever can write a cache decides what later images hold: it must be asked for. This turns off the caches of shiplap.toml too.
false) export SHIPLAP_CACHE_READ_ONLY=1 ;;
*) fail "SHIPLAP_CACHE_WRITE is \`$write\`, and true or false is meant" ;;
esac

# Containers often set neither, and `shiplap doctor` looks for the user's range in /etc/subuid.
USER=${USER:-$(id -un)}
export USER

# A checkout may belong to another user than the job, and git refuses it then. This one is the job's own.
count=${GIT_CONFIG_COUNT:-0}
export "GIT_CONFIG_KEY_$count=safe.directory" "GIT_CONFIG_VALUE_$count=$PWD" "GIT_CONFIG_COUNT=$((count + 1))"

# What is written before the end lies outside of the checkout: a file in it that no commit has would make a release dirty.
work=$(mktemp -d)
made_store=
for part in build release; do echo null >"$work/$part.json"; done
: >"$work/pushed.json"

write_report() {
    mkdir -p "$report"
    jq -n --arg status "$1" --slurpfile build "$work/build.json" --slurpfile pushed "$work/pushed.json" \
        --slurpfile release "$work/release.json" \
        '{exit_code: ($status | tonumber), build: $build[0], pushed: $pushed, release: $release[0]}' >"$report/report.json"
    # Only the first line of a step, in a block of code: a Dockerfile must not write into the page that shows this.
    jq -r '
        def row: "| \(.image) | \(.cached + .reused) | \(.ran) |";
        def ran: .image as $image | .steps[] | select(.outcome == "ran")
            | "    \($image), \(.stage), line \(.at.line_start): \(.text | split("\n")[0][:120])";
        (if .exit_code == 0 then empty else "**Failed** with exit code \(.exit_code): the log of the job says why.", "" end),
        (if .build then
            "| image | steps reused | steps run |", "|---|---|---|", (.build.images[] | row), "",
            ([.build.images[] | ran] | if length == 0 then empty else "Steps that ran:", "", .[], "" end)
        else empty end),
        (if .pushed == [] then empty else "Pushed:", "", (.pushed[] | "- `\(.name)@\(.digest)`"), "" end),
        (if .release then
            "Released \(.release.instance) `\(.release.tag)`, \(.release.steps.reused) steps reused, \(.release.steps.run) run:", "",
            (.release.images[] | "- `\(.reference)@\(.digest)`"), ""
        else empty end)' "$report/report.json" >"$report/summary.md"
}

finish() {
    status=$?
    trap - EXIT
    write_report "$status" || echo "build.sh: no report could be written to $report" >&2
    rm -rf "$work"
    if [ -n "$made_store" ]; then
        # Without root its files belong to subordinate users, whom only a user namespace reaches.
        rm -rf "$made_store" 2>/dev/null || unshare --user --map-root-user --map-auto rm -rf "$made_store" ||
            echo "build.sh: $made_store could not be removed" >&2
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -z "${SHIPLAP_HOME:-}" ]; then
    made_store=$(mktemp -d)
    export SHIPLAP_HOME="$made_store"
fi
shiplap doctor >&2

# Prints the flags for the caches, one a line. `cache_flags false` leaves out those for writing.
cache_flags() {
    for spec in $cache; do echo "--cache-from=$spec" | sed 's/,mode=[^,]*//'; done
    [ "$1" = true ] || return 0
    # A folder is `src` for reading and `dest` for writing.
    for spec in $cache; do echo "--cache-to=$spec" | sed 's/,src=/,dest=/'; done
}

# A release builds by itself.
if [ -z "$version" ] || [ -n "$push" ]; then
    # shellcheck disable=SC2046 # no flag has blanks in it
    shiplap --json --progress plain build $(cache_flags "$write") ${instance:+"$instance"} >"$work/built"
    mv "$work/built" "$work/build.json"
fi

if [ -n "$push" ]; then
    tag=${SHIPLAP_PUSH_TAG:-ci-$(git rev-parse --short=12 HEAD)}
    jq -r '.images[] | "\(.image) \(.names[0])"' "$work/build.json" >"$work/images"
    while read -r image name; do
        # Layers that were reused are mounted from the cache or taken from it.
        # shellcheck disable=SC2046 # as above
        shiplap --json push $(cache_flags false) "$name" --as "$push/$image:$tag" >>"$work/pushed.json"
    done <"$work/images"
fi

if [ -n "$version" ]; then
    # shellcheck disable=SC2046 # as above
    shiplap --json --progress plain release $(cache_flags "$write") ${instance:+"$instance"} "${version#v}" >"$work/released"
    mv "$work/released" "$work/release.json"
fi
