"""The commands `aisbx snapshot ...`, each in its own file."""
