#!/usr/bin/env bash
# dependencies.sh [--list] GROUP...
#
# Installs the packages of these groups that a Debian or Ubuntu machine does not have yet; --list only names them all.
#   build   compiler, CMake and the libraries that Tessera is built with
#   test    what the test suite needs beside them
#   ci      what .ci/run needs beside both: clang with its sanitizers, the checkers, and Python for the interop tests
# This is the one place where packages are listed. a|b: either will do, and a is installed where neither is there.
# Needs root or sudo only where something is missing. Exit status: 0 when everything is there afterwards.
set -euo pipefail

usage() {
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

packages_of() {
    case $1 in
        build)
            printf '%s\n' gcc libc6-dev cmake ninja-build "pkg-config|pkgconf" libdnnl-dev libhdf5-dev libyaml-dev \
                libjansson-dev libpng-dev libjpeg-dev libxxhash-dev zlib1g-dev libcairo2-dev libgif-dev \
                libprotobuf-c-dev protobuf-c-compiler
            ;;
        test) printf '%s\n' g++ libcriterion-dev groff-base ;;
        ci)
            printf '%s\n' git clang clang-format-14 clang-tidy-14 libclang-rt-14-dev libomp-dev shellcheck python3-h5py \
                python3-pil python3-venv
            ;;
        *) usage ;;
    esac
}

list_only=0
[ "${1:-}" != --list ] || { list_only=1; shift; }
[ $# -gt 0 ] || usage
packages=()
for group in "$@"; do
    names=$(packages_of "$group")
    mapfile -t -O ${#packages[@]} packages <<<"$names"
done
if [ $list_only = 1 ]; then
    printf '%s\n' "${packages[@]}"
    exit
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "This is not Debian or Ubuntu, so nothing is installed. Needed, under Debian's names: ${packages[*]}" >&2
    exit 0
fi

installed() {
    dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

missing=()
for package in "${packages[@]}"; do
    installed "${package%%|*}" || installed "${package##*|}" || missing+=("${package%%|*}")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        as_root=(false)
    elif [ -t 0 ]; then
        as_root=(sudo)
    else
        as_root=(sudo -n) # nobody is there to type a password
    fi
fi
apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)

echo "Installing with apt: ${missing[*]}" >&2
if ! { "${as_root[@]}" true && { "${as_root[@]}" "${apt[@]}" update || true; } &&
    "${as_root[@]}" "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >&2; then
    cat >&2 <<END
These packages are missing and could not be installed here: ${missing[*]}
As root:  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}
END
    exit 1
fi
