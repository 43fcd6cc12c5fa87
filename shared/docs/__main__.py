"""`python -m shared.docs`."""

from __future__ import annotations

import sys

from shared.docs import main

sys.exit(main(sys.argv[1:]))
