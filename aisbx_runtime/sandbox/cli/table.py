"""Every command: where it lives and its line of `--help`. Only what is called is imported.

`image pull` lives in `cli/image/pull.py`, which defines `command` by `call.command(...)`.
Their places, when they come: create, profile, mcp, metrics.
"""

from __future__ import annotations

GROUPS = {
    "image": "images: pull, look, pack, push, remove",
    "bundle": "bundles for any OCI runtime, on a cached image",
    "snapshot": "what sandboxes changed, kept and brought back",
}
# Words of the command -> module below cli, its line of help.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run", "run a program in a new sandbox on an image"),
    "exec": ("exec", "run one more program in a sandbox that runs"),
    "ls": ("ls", "list the sandboxes"),
    "logs": ("logs", "print what a detached sandbox has written"),
    "destroy": ("destroy", "end sandboxes and remove what they changed"),
    "init": ("init", "make an image of a directory or an archive"),
    "export": ("export", "write the files of a sandbox, snapshot or image as a tar"),
    "image pull": ("image.pull", "bring an image into the store and unpack it"),
    "image ls": ("image.ls", "list the images of the store"),
    "image inspect": ("image.inspect", "print what is known of an image"),
    "image pack": ("image.pack", "make an image of what a sandbox or snapshot changed"),
    "image push": ("image.push", "copy an image to a registry or another place"),
    "image rm": ("image.rm", "remove images, and what nobody uses then"),
    "image gc": ("image.gc", "remove what nothing refers to"),
    "snapshot create": ("snapshot.create", "keep what a sandbox has changed by now"),
    "snapshot ls": ("snapshot.ls", "list the snapshots"),
    "snapshot inspect": ("snapshot.inspect", "print what a snapshot consists of"),
    "snapshot diff": ("snapshot.diff", "print what changed since the image, or another snapshot"),
    "snapshot restore": ("snapshot.restore", "run a program in a sandbox made from a snapshot"),
    "snapshot rm": ("snapshot.rm", "remove snapshots or their names"),
    "snapshot gc": ("snapshot.gc", "remove the files that no snapshot has"),
    "bundle create": ("bundle.create", "make a bundle on a cached image"),
    "bundle rm": ("bundle.rm", "remove a bundle and what it changed"),
}  # fmt: skip


def names_in(group: str) -> list[str]:
    """Return the names of what a group (empty: the program itself) holds, in the table's order."""
    prefix = f"{group} " if group else ""
    names = [] if group else list(GROUPS)
    names += [
        words.removeprefix(prefix)
        for words in COMMANDS
        if words.startswith(prefix) and (group or " " not in words)
    ]
    return names


def help_of(words: str) -> str:
    """Return the line of help of a command or group."""
    return GROUPS[words] if words in GROUPS else COMMANDS[words][1]
