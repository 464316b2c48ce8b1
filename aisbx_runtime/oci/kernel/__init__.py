"""The only place with ctypes: one function is one system call, typed, without policy."""
