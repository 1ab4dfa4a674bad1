"""SQLite's own faults that matter here, by its version."""

# the first versions in which a checkpoint notices that the log was begun anew meanwhile (the WAL-reset fault
# of 3.7.0 to 3.51.2): of these branches, and of all later ones
_MENDED = ((3, 44, 6), (3, 50, 7))
_MENDED_FOR_GOOD = (3, 51, 3)


def has_wal_reset_fault(version: tuple[int, ...]) -> bool:
    """Whether two connections that write or checkpoint at the same moment may damage the file.

    One takes a checkpoint of a log that has been written back already, while the other begins that log anew:
    what it then commits may count as written back, and is lost. ChatHub alone does not meet it: one
    connection of it writes and checkpoints, the others read.
    """
    if version >= _MENDED_FOR_GOOD:
        return False
    return not any(version[:2] == mended[:2] and version >= mended for mended in _MENDED)
