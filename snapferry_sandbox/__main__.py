"""`python -m snapferry_sandbox` is the command `sandbox`."""

import sys

from snapferry_sandbox.cli import main

if __name__ == "__main__":
    sys.exit(main())
