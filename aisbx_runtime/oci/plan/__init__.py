"""A container as an ordered list of typed, printable steps; each topic plans and applies its own."""
