from ..shared_code.rates import with_tax
from .receipts import number


def pay(amount: str) -> int:
    assert number() == 1
    return with_tax(amount)
