def with_tax(amount: int) -> int:
    return amount + 1
