"""Start ChatHub from a checkout."""

import sys

from chathub.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
