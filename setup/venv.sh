#!/bin/sh
# Make .venv with the test tools of setup/requirements.txt for interpreter $1 (empty: the default
# one), when it is not there or belongs to another interpreter or list.
set -eu
cd "$(dirname "$0")/.."
interpreter=$(sh setup/interpreter.sh "${1-}")
stamp=.venv/made-for
want="$("$interpreter" -I -c 'import sys; print(sys.executable, sys.version)' | tr '\n' ' ')$(cat setup/requirements.txt setup/venv.sh | cksum)"
if [ -x .venv/bin/python ] && [ "$(cat $stamp 2>/dev/null)" = "$want" ]; then
    exit 0
fi
if ! "$interpreter" -I -c 'import ensurepip, venv' 2>/dev/null; then
    echo "setup: $interpreter cannot make a venv; hint: install its venv package (Debian: python3-venv)" >&2
    exit 1
fi
echo "setup: making .venv with $interpreter"
rm -rf .venv
"$interpreter" -I -m venv .venv
echo "setup: installing the test tools from PyPI (about 100 MB, half a minute or more)"
.venv/bin/python -m pip install --disable-pip-version-check --no-input --no-deps --progress-bar off \
    -r setup/requirements.txt 2>&1 | grep -E '^ *(Collecting|Downloading|Installing|ERROR|error)' || true
.venv/bin/python -m pip --disable-pip-version-check check >/dev/null || {
    .venv/bin/python -m pip --disable-pip-version-check check >&2 || true
    echo "setup: the test tools could not be installed from PyPI" >&2
    exit 1
}
.venv/bin/python -c 'import pytest, hypothesis, jsonschema, grimp, mypy, basedpyright' || {
    echo "setup: the test tools could not be installed from PyPI" >&2
    exit 1
}
# Debian's binding of libseccomp, the one package that the runtime itself may import, is not on PyPI.
binding=$("$interpreter" -I -c 'import seccomp; print(seccomp.__file__)' 2>/dev/null || true)
[ -z "$binding" ] || ln -s "$binding" "$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/"
echo "$want" >$stamp
