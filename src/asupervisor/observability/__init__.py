"""How an operator sees the service from outside: metrics, health, readiness and a dump of its
tasks, over HTTP.
"""
