"""Room 2: the product, for people. It meets the runtime at its command line only."""
