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
    import headrace  # type: ignore[import-not-found]  # noqa: PLC0415 - found by way of the line above
    from headrace_child import bash, deno, keeper, serve  # type: ignore[import-not-found]  # noqa: PLC0415 - as above

    keeper.keep(settings["parent"])
    loaders = {"bash": bash.BashScript, "deno": deno.DenoScript}
    headrace._limit(settings["max_result_bytes"])  # noqa: SLF001 - the runner's own
    serve.serve(settings, headrace._enter, loaders[settings["language"]])  # noqa: SLF001 - as above


if __name__ == "__main__":
    main()
