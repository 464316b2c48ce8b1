#!/bin/sh
# Install the Debian packages of the named groups (setup/packages.txt), only those that are missing.
# Usage: sh setup/packages.sh GROUP...      Exit 1 with one clear sentence if that cannot be done.
set -eu
cd "$(dirname "$0")"

is_there() { # PACKAGE PROBE
    case $(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null || true) in ii*) return 0 ;; esac
    case $2 in
    -) return 1 ;;
    /*) [ -e "$2" ] ;;
    # sbin: where a plain user's PATH does not look
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$2" >/dev/null ;;
    esac
}

missing=
for group in "$@"; do
    while read -r of_group package probe; do
        if [ "$of_group" = "$group" ] && ! is_there "$package" "$probe"; then
            missing="$missing $package"
        fi
    done <packages.txt
done
if [ -z "$missing" ]; then
    echo "setup: the Debian packages for $* are here"
    exit 0
fi

say_how() {
    echo "setup: $1" >&2
    echo "setup: hint: as root: apt-get install --no-install-recommends$missing" >&2
    exit 1
}
command -v apt-get >/dev/null || say_how "no apt-get here, and these packages are missing:$missing"
as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || say_how "not root, and no sudo, to install:$missing"
    as_root=sudo
    [ -t 0 ] || as_root="sudo -n"
    $as_root true || say_how "sudo refuses, to install:$missing"
fi

# apt-get update has no lock timeout of its own: several tries.
try=1
echo "setup: apt-get update (needed for:$missing)"
until $as_root apt-get -q -o Acquire::Retries=3 update >/dev/null; do
    [ $try -lt 30 ] || say_how "apt-get update fails"
    try=$((try + 1))
    echo "setup: apt is busy or fails, try $try of 30 in 10 s"
    sleep 10
done
# --no-remove: never push out what somebody installed (docker's containerd.io, for one).
echo "setup: installing$missing"
# shellcheck disable=SC2086 # a list of names
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 \
    -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 --no-install-recommends --no-remove \
    install $missing </dev/null | grep -E '^(Get:|Setting up|Need to get|E:)' ||
    say_how "apt-get install fails"
for package in $missing; do
    case $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true) in
    ii*) ;;
    *) say_how "apt-get could not install $package" ;;
    esac
done
echo "setup: the Debian packages for $* are here"
