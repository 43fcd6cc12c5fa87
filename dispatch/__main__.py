"""`python -m dispatch` is `headrace dispatch`."""

import sys

from shared.cli import main

sys.exit(main(["dispatch", *sys.argv[1:]]))
