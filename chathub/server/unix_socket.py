"""The file of a Unix socket (unix(7)): what is there, and listening at it.

The file stays where its server is killed; then nothing answers there, and the next server replaces it.
"""

import socket
import stat
from pathlib import Path
from typing import Literal

# its owner and its group may connect
_MODE = 0o660


def listen_at(path: Path, backlog: int) -> socket.socket:
    """A Unix socket that listens at a path. A file on which nothing listens any more is replaced.

    Raises:
        OSError: a server listens there, the file is something else, or it cannot be made.
    """
    if state_of(path) == "dead":
        path.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
        try:
            # nobody can connect before listen()
            path.chmod(_MODE)
            listening.listen(backlog)
        except OSError:
            path.unlink()
            raise
    except OSError:
        listening.close()
        raise
    return listening


def state_of(path: Path) -> Literal["absent", "live", "dead", "other"]:
    """What is at a path: nothing, a socket on which a server listens or no one does any more, or another
    file."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return "other"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            probe.connect(str(path))
    except (FileNotFoundError, NotADirectoryError):
        return "absent"
    except ConnectionRefusedError:
        return "dead"
    except OSError:
        # the server's queue is full, or we may not connect
        return "live"
    return "live"
