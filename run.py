"""Start ChatHub from a checkout."""

import gc
import sys

# the imports make no garbage, and collecting takes time; serve enables it again
gc.disable()

from chathub.__main__ import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
