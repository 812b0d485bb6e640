"""What is shipped, in a blueprint of its own."""

import azure.durable_functions as df

bp = df.Blueprint()


class Parcel:
    """A class that says how it is written and read."""

    def __init__(self, item: str, weight: int) -> None:
        self.item = item
        self.weight = weight

    @staticmethod
    def to_json(parcel: "Parcel") -> dict:
        return {"item": parcel.item, "weight": parcel.weight}

    @staticmethod
    def from_json(found: dict) -> "Parcel":
        return Parcel(found["item"], found["weight"])


attempts = []


@bp.activity_trigger(input_name="receipt", activity="pack")
async def pack_it(receipt: dict) -> Parcel:
    attempts.append(receipt)
    if len(attempts) < 2:
        raise ValueError("the box broke")
    return Parcel(receipt["item"], len(receipt["prices"]))


@bp.orchestration_trigger(context_name="context", orchestration="ship")
def ship_it(context: df.DurableOrchestrationContext):
    label = yield context.call_activity("label", context.get_input(Parcel))
    return label


@bp.activity_trigger(input_name="parcel", activity="label")
def label_it(parcel: Parcel) -> str:
    return f"{parcel.weight} x {parcel.item}"
