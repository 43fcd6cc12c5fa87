"""`python -m dispatch` is `headrace dispatch`."""

from shared.cli import main

main(["dispatch"])
