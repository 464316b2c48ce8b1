"""A container as an ordered list of typed, printable steps, each topic with its own."""
