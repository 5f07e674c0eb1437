"""The RPCs Exec, Attach and PortForward, which answer with a URL, and what
:mod:`asupervisor.streaming` needs of the engine to serve it.
"""
