"""`python -m console` is `headrace console`."""

import sys

from shared.cli import main

if __name__ == "__main__":
    sys.exit(main(["console", *sys.argv[1:]]))
