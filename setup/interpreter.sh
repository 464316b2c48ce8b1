#!/bin/sh
# Print the absolute path of the Python interpreter to build for: $1, else /usr/bin/python3, else the
# first newer one. A version manager's shim or a venv is followed to the interpreter behind it: a shim costs
# 100 ms at every start, and podman calls the runtime without the PATH that a shim needs.
set -eu

real() {
    "$1" -I -c '
import os, sys
sys.exit(1) if sys.version_info < (3, 11) else print(os.path.abspath(sys._base_executable))
' 2>/dev/null
}

if [ -n "${1-}" ]; then
    real "$1" && exit 0
    echo "setup: PYTHON=$1 does not start, or is older than 3.11" >&2
    exit 1
fi
for candidate in /usr/bin/python3 python3.11 python3.12 python3.13 python3.14; do
    real "$candidate" && exit 0
done
echo "setup: no Python from 3.11 on found; hint: apt-get install python3, or make PYTHON=/path/to/python3" >&2
exit 1
