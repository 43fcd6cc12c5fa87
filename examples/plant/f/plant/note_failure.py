"""What the flow `overheated` does when a step has failed for good."""


def main(step: str, message: str):
    print(f"step {step}: {message}")
    return {"failed": step}
