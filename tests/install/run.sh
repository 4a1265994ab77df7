#!/usr/bin/env bash
# run.sh BUILD
#
# Installs Tessera from the build folder BUILD (static), and built anew as a shared library, each into an empty prefix;
# builds quantize.c against it with pkg-config and with find_package, and runs it. Exit status: 0 when all of it works.
set -euo pipefail
[ $# = 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
build=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
source=$here/../..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

expect_id() {
    local said
    said=$("$@")
    [ "$said" = "id 124" ] || { echo "run.sh: $* said \"$said\", expected \"id 124\"" >&2; exit 1; }
}

use() {
    local prefix=$1 name=$2 folder flags
    folder=$(dirname "$(find "$prefix" -name tessera.pc)")
    read -r -a flags <<<"$(PKG_CONFIG_PATH=$folder pkg-config --cflags --libs tessera)"
    cc -Wall -Wextra -Werror -o "$work/$name-pkgconfig" "$here/quantize.c" "${flags[@]}"
    expect_id env LD_LIBRARY_PATH="${folder%/*}" "$work/$name-pkgconfig"

    cmake -G Ninja -S "$here" -B "$work/$name-cmake" -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" ||
        { cat "$work/log"; exit 1; }
    cmake --build "$work/$name-cmake" >"$work/log" || { cat "$work/log"; exit 1; }
    expect_id "$work/$name-cmake/quantize"
}

use_program() {
    local prefix=$1
    "$prefix/bin/tessera" --version
    for file in share/man/man1/tessera.1 share/bash-completion/completions/tessera; do
        [ -s "$prefix/$file" ] || { echo "run.sh: $file was not installed" >&2; exit 1; }
    done
    bash -n "$prefix/share/bash-completion/completions/tessera"
}

cmake --install "$build" --prefix "$work/static" >/dev/null
use "$work/static" static
use_program "$work/static"

cmake -G Ninja -S "$source" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DTESSERA_TESTS=OFF >/dev/null
cmake --build "$work/build" -j "$(nproc)" >"$work/log" || { tail -n 40 "$work/log"; exit 1; }
cmake --install "$work/build" --prefix "$work/shared" >/dev/null
use "$work/shared" shared
use_program "$work/shared"
echo "Install: static and shared, with pkg-config and with find_package."
