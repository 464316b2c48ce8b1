"""Room 1: the OCI runtime. Standard library only; knows nothing of images, MCP or metrics."""
