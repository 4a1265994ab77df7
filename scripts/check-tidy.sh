#!/usr/bin/env bash
# check-tidy.sh [--all | --since COMMIT | FILE...]
#
# clang-tidy (version 14, .clang-tidy) over C files, as the preset `sanitize` compiles them (it must be configured).
# --since takes the files that changed since that commit, and with a changed header the sources of the same room or test.
# Without arguments: all. Exit status: 0 when nothing was found.
set -euo pipefail
cd "$(dirname "$0")/.."
tidy=$(command -v clang-tidy-14 || command -v clang-tidy) || { echo "clang-tidy is not installed" >&2; exit 1; }
database=build/sanitize/compile_commands.json
[ -f $database ] || { echo "$database is missing: cmake --preset sanitize" >&2; exit 1; }

all_files() {
    find core config autograd layers quant models train tests -name '*.c' -not -path 'tests/install/*' | sort
}

changed_since() {
    local changed name
    changed=$(git diff --name-only --diff-filter=d "$1" -- '*.[ch]' .clang-tidy core/ops.def)
    if grep -qE '^(\.clang-tidy|core/ops\.def)$' <<<"$changed"; then
        all_files
        return
    fi
    while read -r name; do
        case $name in
            *.c) echo "$name" ;;
            *.h) grep -lF "\"$name\"" "$(dirname "$name")"/*.c || true ;;
        esac
    done <<<"$changed" | sort -u | comm -12 - <(all_files)
}

case ${1:---all} in
    --all) mapfile -t files < <(all_files) ;;
    --since) mapfile -t files < <(changed_since "$2") ;;
    *) files=("$@") ;;
esac
[ ${#files[@]} -gt 0 ] || { echo "Tidy: no file changed."; exit 0; }

noise='^([0-9]+ warnings?( and [0-9]+ errors?)? generated|[0-9]+ warnings treated as errors|Suppressed|Use -header-filter)'
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" "$tidy" --quiet -p build/sanitize >"$log" 2>&1 || status=1
grep -vE "$noise" "$log" || true
[ $status != 0 ] || echo "Tidy: ${#files[@]} files, nothing found."
exit $status
