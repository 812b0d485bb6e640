import azure.functions as func


def main(req: func.HttpRequest, info) -> func.HttpResponse:
    return func.HttpResponse(info)
