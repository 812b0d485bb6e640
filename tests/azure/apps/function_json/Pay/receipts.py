def number() -> int:
    return 1
