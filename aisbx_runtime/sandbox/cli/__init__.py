"""The program `aisbx`: one command, one file. It translates and prints; it decides nothing."""
