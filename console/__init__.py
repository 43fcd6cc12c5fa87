"""Console: HTTP over the state in Redis, for scripts that run. It imports `shared` and no other process."""
