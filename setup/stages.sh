#!/bin/sh
# Run the make targets named, all of them whatever fails, and end with a summary.
# A plain user without sudo is told which of them were not run. Exit 1 if any failed.
set -u
cd "$(dirname "$0")/.."
summary=$(mktemp)
trap 'rm -f "$summary"' EXIT
failed=0

can_be_root() {
    [ "$(id -u)" = 0 ] && return 0
    command -v sudo >/dev/null || return 1
    if [ -t 0 ]; then sudo true; else sudo -n true 2>/dev/null; fi
}

for stage in "$@"; do
    echo
    echo "==== make $stage"
    case $stage in
    test-root | test-sandbox | test-security | test-users | test-engines | test-lab*)
        if ! can_be_root; then
            echo "$stage: skipped: needs root, and sudo gives none" | tee -a "$summary"
            continue
        fi ;;
    esac
    begin=$(date +%s)
    # A test that hangs fails after its own limit; this is for what hangs outside of a test.
    if timeout --foreground -k 30 2400 "${MAKE:-make}" --no-print-directory "$stage"; then result=passed; else result=FAILED; failed=1; fi
    echo "$stage: $result in $(($(date +%s) - begin)) s" >>"$summary"
done
echo
echo "==== summary"
cat "$summary"
exit $failed
