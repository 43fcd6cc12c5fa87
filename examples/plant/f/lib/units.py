"""A module without `main`: scripts import it, and it is deployed with them."""

LITRES = {"l": 1, "hl": 100, "m3": 1000}


def litres(value: float, unit: str) -> float:
    """Litres from l, hl or m3."""
    return value * LITRES[unit]
