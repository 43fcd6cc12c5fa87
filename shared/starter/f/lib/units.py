"""A module without `main`: scripts import it, and it is deployed with them."""


def celsius(value: float, unit: str) -> float:
    """Degrees Celsius from Celsius (C) or Fahrenheit (F)."""
    return round((value - 32) / 1.8, 1) if unit == "F" else float(value)
