def main(celsius: float, limit: str):
    if celsius < -273.15:
        raise ValueError(f"{celsius} degrees cannot be")
    return {"over": round(celsius - float(limit), 1)}
