"""The process that runs user code: one script, run after run, until the socket closes.

Started as `python -I -S -X utf8 -u python_child.py <entry> <settings as JSON>`. -I and -S keep the environment, the
current folder and every site-packages hook (editable installations among them) off the path; what the script may
import is then put there by `isolation`.
"""

import json
import sys


def main() -> None:
    """Become the child: isolate, load the script, serve."""
    settings = json.loads(sys.argv[2])
    stdlib = list(sys.path)
    sys.path.insert(0, settings["helper"])
    import headrace  # type: ignore[import-not-found]  # noqa: PLC0415 - found by way of the line above
    from headrace_child import isolation, keeper, serve  # type: ignore[import-not-found]  # noqa: PLC0415 - as above

    keeper.keep(settings["parent"])
    isolation.set_path(settings, stdlib)
    headrace._limit(settings["max_result_bytes"])  # noqa: SLF001 - as below
    sys.argv = [settings["entry"]]
    serve.serve(settings, headrace._enter)  # noqa: SLF001 - the script must not call it


# A script may use multiprocessing, which imports this file again under another name.
if __name__ == "__main__":
    main()
