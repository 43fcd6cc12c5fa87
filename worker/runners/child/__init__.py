"""What stands on the path of user code: the module `headrace`, and the child's own package. Standard library only.

This folder is put on the child's path, so every name in it starts with or contains `headrace`, or is not importable
by accident.
"""
