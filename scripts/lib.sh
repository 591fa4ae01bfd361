# What the scripts share. Sourced, not run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# rustup puts cargo here and tells only new shells
export PATH="$PATH:$HOME/.cargo/bin:/usr/sbin:/sbin"

if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi

heading() {
    printf '\n%s%s%s\n' "$bold" "$*" "$plain"
}

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "this needs root, and there is no sudo: $*"
    fi
}

# Installs the packages of the programs that are missing: install_missing PROGRAM:PACKAGE...
install_missing() {
    local pair packages=()
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || packages+=("${pair#*:}")
    done
    [ ${#packages[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        fail "needs what Debian has in these packages, and there is no apt-get here to install them: ${packages[*]}"
    echo "installing ${packages[*]}"
    local log
    log=$(mktemp)
    as_root apt-get update -q >"$log" 2>&1 &&
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -q --no-install-recommends "${packages[@]}" >>"$log" 2>&1 || {
        cat "$log" >&2
        fail "apt-get could not install ${packages[*]}"
    }
    rm -f "$log"
}

require_rust() {
    command -v cargo >/dev/null || fail "needs Rust: install it from https://rustup.rs"
}

# Prints the kind of file system that a path is on.
file_system() {
    stat -f -c %T "$1"
}
