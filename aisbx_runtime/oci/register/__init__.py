"""Registration with engines: which files there are to be, and a container that proves it.

The verb `register` and `make install` are the callers.
What an engine reads lives in its own module, what is ours to change in `change`.
"""
