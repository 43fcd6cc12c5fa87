"""The tests: pure ones in unit/, all others against real servers."""
