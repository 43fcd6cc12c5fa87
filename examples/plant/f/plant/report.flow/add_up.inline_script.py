def main():
    return "no report yet"
