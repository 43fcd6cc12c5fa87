def main(payload: bytes):
    """Gets the message as it came; what it prints and returns is kept with the run."""
    text = payload.decode()
    print(f"hello, {text}")
    return {"said": text}
