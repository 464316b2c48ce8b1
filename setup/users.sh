#!/bin/sh
# The lifecycle suite as others than root: a plain user, root of a user namespace with 300000 ids
# (podman unshare), and root of one with a single id and setgroups(2) denied (unshare -r).
# Without arguments a selection that touches every step of create and exec; `all` is everything,
# and anything else goes to pytest. Needs root, to be each of them; exit 1 if any run failed.
set -u
cd "$(dirname "$0")/.."
lifecycle=integration/lifecycle
case ${1-} in
'') set -- $lifecycle/test_states.py $lifecycle/test_paths.py \
    $lifecycle/test_user_namespace.py $lifecycle/test_rootless.py ;;
all) set -- $lifecycle ;;
esac
python=.venv/bin/python
root=
[ "$(id -u)" = 0 ] || root=sudo
# hypothesis and the cache write below the checkout, which is not theirs.
pytest="$python -B -m pytest -q -p no:cacheprovider -p no:hypothesispytest -m root"
nobody="setpriv --reuid=65534 --regid=65534 --clear-groups --"
failed=0
echo "-- a plain user"
$root env AISBX_TEST_PLAIN_USER=1 $nobody $pytest "$@" || failed=1
echo "-- root of a user namespace"
$root $python -B -m integration.user_namespace 100000:300000 $pytest "$@" || failed=1
echo "-- root of a user namespace with one id"
$root $nobody $python -B -m integration.user_namespace own $pytest "$@" || failed=1
exit $failed
