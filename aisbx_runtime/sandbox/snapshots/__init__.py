"""Snapshots: what a container changed, by content, taken and brought back.

    snapshots/
      trees/HEX.json   a snapshot: the image it lies on and its entries; HEX is its sha256, its id
      files/HH/HEX     what the files of trees contain, by sha256
      names/NAME       the id of a snapshot that somebody named

A tree comes to its place after its files are on the disk, so that whatever is killed, each tree is
whole. Files that no tree names go with `gc`.
"""
