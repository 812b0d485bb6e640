import azure.functions as func


def main(req: func.HttpRequest, msg, answer) -> None:
    msg.set("for the queue")
    answer.set(func.HttpResponse("by out", status_code=201))
