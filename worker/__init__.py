"""From queue to history: claims runs, has the code executed by child interpreters, records how it ended."""
