#!/usr/bin/env bash
# check-format.sh [--fix]
#
# Does every C file look as .clang-format (version 14) says? Prints the places that do not; --fix rewrites the files.
# Exit status: 0 when every file does.
set -euo pipefail
cd "$(dirname "$0")/.."
format=$(command -v clang-format-14 || command -v clang-format) || { echo "clang-format is not installed" >&2; exit 1; }
"$format" --version | grep -q 'version 14\.' || { echo "$("$format" --version): version 14 is needed" >&2; exit 1; }
mapfile -t files < <(find core config autograd layers quant models train tests -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' | sort)
case ${1:-} in
    --fix) "$format" -i "${files[@]}" ;;
    *) "$format" --dry-run --Werror "${files[@]}" && echo "Format: ${#files[@]} files, all as .clang-format says." ;;
esac
