#!/usr/bin/env bash
# check-docs.sh
#
# Does what the documents and the comments point at exist? Links between Markdown files, and every mention of
# docs/<page>.md, docs/<page>.md#<heading> in the source. Exit status: 0 when all of them do.
set -euo pipefail
cd "$(dirname "$0")/.."

# The anchors of a page: its headings as GitHub writes them.
anchors() {
    # shellcheck disable=SC2016
    sed -n '/^```/,/^```/!s/^##* //p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}

failed=0
count=0
expect() { # place, page, anchor
    count=$((count + 1))
    if [ ! -e "$2" ]; then
        echo "$1: there is no $2" >&2
        failed=1
    elif [ -n "$3" ] && ! anchors "$2" | grep -qxF -e "$3"; then
        echo "$1: $2 has no heading #$3" >&2
        failed=1
    fi
}

mapfile -t pages < <(git ls-files --cached --others --exclude-standard '*.md')
while IFS=: read -r page line link; do
    link=${link#*](}
    link=${link%%)*}
    case $link in http://* | https://* | mailto:*) continue ;; esac
    target=${link%%#*}
    [ "$target" = "$link" ] && anchor='' || anchor=${link#*#}
    [ -n "$target" ] && target=$(dirname "$page")/$target || target=$page
    expect "$page:$line" "$target" "$anchor"
done < <(grep -noHE '\]\([^) ]+\)' "${pages[@]}" || true)

while IFS=: read -r file line mention; do
    page=${mention%%#*}
    [ "$page" = "$mention" ] && anchor='' || anchor=${mention#*#}
    expect "$file:$line" "$page" "$anchor"
done < <(git grep --untracked -noE '\bdocs/[a-z/_-]+\.md(#[a-z0-9_-]+)?' -- '*.c' '*.h' '*.def' '*.cu' '*.py' '*.sh' '*.yaml' '*.md' ':!scripts/check-docs.sh')

[ $count -gt 0 ] || { echo "no link was found: the search itself is broken" >&2; failed=1; }
[ $failed != 0 ] || echo "Docs: $count links and mentions, all of them lead somewhere."
exit $failed
