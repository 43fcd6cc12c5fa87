"""Console: web page and REST API over the state in Redis. It imports `shared` and no other process."""
