#!/usr/bin/env bash
# test.sh [PATTERN]
#
# Builds Tessera and runs its test suite, on a Debian or Ubuntu machine that may have nothing installed yet. With PATTERN
# only the suites whose name holds it: `core`, `golden`, `train_config` (* and ? stand for any letters).
#   TESSERA_BUILD   preset to build: release (default), debug, sanitize
#   TESSERA_SHARED  folder with golden/ and data/ for the tests that read them (default: ../shared; without it they are
#                   skipped, and counted)
# The last lines are Criterion's summary and the number of skipped tests. Exit status: 0 when every test passed.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit ;;
    -* | */*) echo "test.sh: \"$1\" is no pattern for the name of a suite (see --help)" >&2; exit 2 ;;
esac
[ $# -le 1 ] || { echo "test.sh: expected one pattern, got $# (see --help)" >&2; exit 2; }
preset=${TESSERA_BUILD:-release}
[ -z "${TESSERA_SHARED:-}" ] || { TESSERA_SHARED=$(realpath -m "$TESSERA_SHARED"); export TESSERA_SHARED; }

scripts/dependencies.sh build test
cmake --preset "$preset" -DTESSERA_TESTS=ON
cmake --build "build/$preset"

log=build/$preset/tests.log
filter=()
[ $# = 0 ] || filter=(--filter "*$1*/*")
status=0
"build/$preset/tessera-tests" --color=never --timeout 900 "${filter[@]}" 2>&1 | tee "$log" || status=$?

summary=$(grep -a '^\[====\] Synthesis:' "$log" | tail -n 1 || true)
[ -n "$summary" ] || { echo "test.sh: the test program ended without a summary" >&2; exit 1; }
skipped=$(grep -ac '^SKIPPED' "$log" || true)
echo
if [ "$skipped" != 0 ]; then
    echo "Skipped:"
    grep -a '^SKIPPED' "$log" | sed "s|^SKIPPED |    |; s|$PWD/||" | sort | uniq -c
fi
echo "$summary"
echo "Skipped: $skipped"
# Criterion takes no notice of what a test's process says while it ends.
if grep -aqE 'ERROR: (Address|Leak)Sanitizer|: runtime error: ' "$log"; then
    echo "test.sh: a sanitizer found something; see $log" >&2
    status=1
fi
case $summary in
    *"Tested: 0 "*)
        echo "test.sh: no suite's name holds \"${1:-}\" (build/$preset/tessera-tests --list names them)" >&2
        exit 1
        ;;
esac
exit $status
