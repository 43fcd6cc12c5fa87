"""Windmill's routes, as its clients call them."""
