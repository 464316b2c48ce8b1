"""HOME from the container's list of users, which anybody may have written."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.plan.home import home_of

LINES = b"root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000::/home/me:\nme:x:1000:1000::/other:\n"


@pytest.mark.parametrize(
    ("text", "uid", "home"),
    [
        (LINES, 0, "/root"),
        (LINES, 1000, "/home/me"),
        (LINES, 100, "/"),
        (b"", 0, "/"),
        (b"root:x:0:0:root:/a\xff", 0, "/a\udcff"),
        (b"root:x:00:0:root:/a:\nroot:x:+0:0:root:/b:", 0, "/"),
        (b"root:x:0:0:root", 0, "/"),
        (b"root:x:0:0:root::\nroot:x:0:0:root:/a\0b:", 0, "/"),
        (b"\n\n:::::\n0\n" * 1000, 0, "/"),
    ],
)
def test_home_is_the_sixth_field_of_the_first_line_of_a_user(text, uid, home):
    assert home == home_of(text, uid)
