"""Flows: what is to be done next is decided by a pure interpreter, and done by an engine that survives its death."""
