"""What this host can and cannot enforce, found by trying. Printing lives in `lifecycle`.

Nothing here changes the machine: what has to be tried is tried in a child with namespaces of its
own, and ends with it.
"""
