"""Snapshots: what a container changed, by content, taken and brought back."""
