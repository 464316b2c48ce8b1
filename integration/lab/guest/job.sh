#!/bin/sh
# Run the command of the lab, its output to the line that the host reads, and end the guest.
. /run/lab/settings

if [ -n "$LAB_TERMINAL" ]; then
    # The size is the open terminal's: it goes with the last who has it open.
    busybox setsid -c sh -c "busybox stty $LAB_TERMINAL; exec sh /run/lab/command" \
        </dev/ttyS0 >/dev/ttyS0 2>&1
    echo $? >/run/lab/status
else
    mkfifo /run/lab-output
    cat /run/lab-output >/dev/ttyS0 &
    sh /run/lab/command </dev/null >/run/lab-output 2>&1
    echo $? >/run/lab/status
    # A process that lives on may hold the pipe: it has five seconds.
    left=50
    while kill -0 $! 2>/dev/null && [ $left -gt 0 ]; do
        sleep 0.1
        left=$((left - 1))
    done
fi
sync
[ "$LAB_SYSTEMD" != 1 ] || busybox poweroff -f
