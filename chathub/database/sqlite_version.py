"""Which versions of SQLite have a bug that matters here."""

# the first versions in which a checkpoint notices that the log was reset meanwhile (the WAL-reset bug of
# 3.7.0 to 3.51.2): in these branches, and in all later ones
_FIXED = ((3, 44, 6), (3, 50, 7))
_FIXED_IN_ALL = (3, 51, 3)


def has_wal_reset_fault(version: tuple[int, ...]) -> bool:
    """Whether two connections that write or checkpoint at the same moment may damage the file.

    One connection checkpoints a log that is written back already, while the other resets that log: what the
    other then commits may count as written back, and is lost. ChatHub alone cannot cause this: one of its
    connections writes and checkpoints, the others read.
    """
    if version >= _FIXED_IN_ALL:
        return False
    return not any(version[:2] == fixed[:2] and version >= fixed for fixed in _FIXED)
