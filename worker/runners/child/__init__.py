"""What stands on the path of user code: the module `headrace`, and the child's own package `headrace_child`.

Standard library only. The whole folder is on the child's path, behind everything of the user's: nothing may be added
here under a name that a script might mean otherwise.
"""
