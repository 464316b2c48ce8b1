"""The commands `aisbx bundle ...`, each in its own file."""
