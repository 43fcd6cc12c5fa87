"""`python -m ingest` is `headrace ingest`."""

import sys

from shared.cli import main

if __name__ == "__main__":
    sys.exit(main(["ingest", *sys.argv[1:]]))
