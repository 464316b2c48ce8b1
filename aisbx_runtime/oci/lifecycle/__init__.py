"""One verb, one file: what create, start, state, kill, delete and the rest do."""
