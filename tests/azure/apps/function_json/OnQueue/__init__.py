import azure.functions as func


def main(message: func.QueueMessage) -> None:
    raise AssertionError("nothing comes from a queue here")
