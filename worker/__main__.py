"""`python -m worker` is `headrace worker`."""

import sys

from shared.cli import main

sys.exit(main(["worker", *sys.argv[1:]]))
