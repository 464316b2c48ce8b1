"""The stub, as bytes: the freestanding program that container init becomes while it waits.

The program is stub.c; build.py makes the file `stub` from it (`make build`). How it is put into
a sealed memfd and executed is not here.
"""

from __future__ import annotations

from aisbx_runtime.oci.errors import Failure

PATH = f"{__path__[0]}/stub"


def binary() -> bytes:
    """Return the built stub; raises Failure if it was not built."""
    try:
        with open(PATH, "rb", buffering=0) as file:
            return file.readall()
    except FileNotFoundError:
        raise Failure(
            what=f"the stub is not built: {PATH} does not exist",
            hint="run `make build` in the checkout that this runtime runs from",
        ) from None
