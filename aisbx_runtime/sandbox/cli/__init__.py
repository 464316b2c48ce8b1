"""The program `aisbx`: it translates words into calls of services and results into text.

One command, one file: `aisbx image pull` is `command` in `image/pull.py`, listed in `table.py`.
Nothing is decided here, and nothing but this package prints.
"""
