"""NRI's plugins on one side, the verbs and the engine on the other: pods and containers as plugins
see them, and what plugins want as the engine and the kernel are given it. Imported with the first
plugin."""
