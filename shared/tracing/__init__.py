"""The trace that a message belongs to, through all processes: W3C Trace Context in, on to code, and out again.

`context` reads and writes it, `runs` says which one a run has; both work whether spans are recorded or not. `spans` are
what processes record where that is turned on, `export` is the door to OpenTelemetry.
"""
