"""Start ChatHub from a checkout."""

import gc
import sys

# nothing of what the imports make is garbage, and looking for some takes time; main() turns it on again
gc.disable()

from chathub.__main__ import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
