"""An app for Azure in the style of the durabletask SDK: functions with two parameters, and its client."""

import azure.durable_functions as df
import azure.functions as func
from entities import bp as entities
from management import bp as management
from orchestrators import bp as orchestrators

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.register_functions(orchestrators)
app.register_functions(entities)
app.register_functions(management)
app.configure_scheduled_tasks()
