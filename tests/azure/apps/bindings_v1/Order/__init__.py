import azure.durable_functions as df


def orchestrator_function(context: df.DurableOrchestrationContext):
    invoice = yield context.call_activity("Invoice", context.get_input())
    try:
        yield context.call_activity("Lookup", invoice)
    except Exception as error:
        return [invoice, str(error)]


main = df.Orchestrator.create(orchestrator_function)
