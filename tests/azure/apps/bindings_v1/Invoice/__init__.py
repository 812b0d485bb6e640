import azure.functions as func


def main(message, outputBlob: func.Out[bytes], amount: int, context: func.Context) -> str:
    outputBlob.set(b"invoice over %d" % amount)
    message.set('{"body": "paid"}')
    return f"{context.function_name} {amount}"
