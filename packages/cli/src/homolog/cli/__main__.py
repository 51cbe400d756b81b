"""`python -m homolog.cli` is the command `homolog`."""

import sys

from homolog.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
