"""HTTP: the management API of Durable Functions, the HTTP functions of an app, and the server that carries both."""
