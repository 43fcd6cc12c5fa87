"""The runner's side of the Python child process. Standard library only, and nothing of Headrace's packages."""
