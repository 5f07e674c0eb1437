"""The Node Resource Interface: plugins on the node that are told of events of pods and adjust their
containers (nri.pkg.api.v1alpha1).

``mux`` and ``ttrpc`` are the protocols, without I/O; ``connection`` is one plugin's socket;
``plugin`` speaks to one plugin, ``registry`` to all of them in the order of their indices;
``merge`` combines what several plugins want; ``validate`` has the rules that no plugin may break.
``dockershim/plugins`` knows what a pod is on the engine, and what an adjustment does there.

A plugin is as trusted as root, since it decides what containers get. But it must not be able to
hang or end the service: each of its answers has a deadline, each of its messages a limit, and a
plugin that breaks either is dropped."""
