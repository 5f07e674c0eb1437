"""The command line: the service's flags, and a client of any CRI server with one file for each
verb.

Flags and the environment become one :class:`~asupervisor.config.Config`; a client verb talks to the
server only through :mod:`asupervisor.client`. Functions here return exit codes; only ``__main__``
ends the process. A verb's module is imported when the verb is called, so that a start costs
little."""
