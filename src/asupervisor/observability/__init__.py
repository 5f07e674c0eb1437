"""What an operator sees of the service over HTTP: a status page, metrics, health, readiness and a
dump of all tasks; and traces by OpenTelemetry.

A page is answered from memory and does not ask the engine. Connections are bounded in number and in
time. The libraries for metrics and traces are imported only if these are configured. The dump of
tasks and the spans have no value of a request in them."""
