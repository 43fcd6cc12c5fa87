"""Told by the flow `overheated`, once for each who is on duty."""


def main(who: str, what: str):
    if who == "nobody":
        raise LookupError("nobody is on duty")
    print(f"{who}: {what}")
    return who
