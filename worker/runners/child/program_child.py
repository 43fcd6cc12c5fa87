"""The process that runs scripts in a language other than Python: it speaks frames with the worker, and has a program
of that language do the work.

Started as `python -I -S -X utf8 -u program_child.py <settings as JSON>`, in Headrace's interpreter: no user code runs
in here.
"""

import json
import sys


def main() -> None:
    """Become the child: load the script, serve."""
    settings = json.loads(sys.argv[1])
    sys.path.insert(0, settings["helper"])
    from headrace_child import bash, deno, keeper, serve  # type: ignore[import-not-found]  # noqa: PLC0415 - found by way of the line above

    keeper.keep(settings["parent"])
    loaders = {"bash": bash.BashScript, "deno": deno.DenoScript}
    serve.serve(settings, lambda _context: [], loaders[settings["language"]])


if __name__ == "__main__":
    main()
