"""The Node Resource Interface: programs on the node that see the pods' life and shape their
containers (nri.pkg.api.v1alpha1).

``mux`` and ``ttrpc`` are the wire, without I/O; ``connection`` is one plugin's socket; ``plugin``
speaks to one plugin, ``registry`` to all of them in the order of their indices; ``merge`` puts
together what several want; ``validate`` holds the rules that no plugin may break. What a pod is on
the engine, and what an adjustment does there, is the verbs' business.

A plugin is as trusted as root, since it chooses what containers are given. But it must not be able
to hang or end the service: each of its answers has a deadline, each of its frames a bound, and one
that breaks either is dropped."""
