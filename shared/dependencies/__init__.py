"""The packages that Python scripts need: what they ask for, the versions that this comes to, where those are installed.

`needs` reads the sources, `locking` turns needs into the lock of a script when it is pushed, `environments` installs a
lock. `uv` is the one door to the program of that name, `interpreter` to the Python that runs scripts.
"""
