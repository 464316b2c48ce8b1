"""Images: pulled into one OCI layout, checked, unpacked once to a cached rootfs, packed, pushed."""
