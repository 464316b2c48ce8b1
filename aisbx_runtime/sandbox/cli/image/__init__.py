"""The commands `aisbx image ...`, each in its own file."""
