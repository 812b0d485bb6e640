import azure.functions as func


def main(id: str, rows: func.DocumentList) -> int:
    return len(rows)
