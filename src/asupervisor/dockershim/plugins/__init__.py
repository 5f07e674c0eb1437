"""NRI's plugins on one side, the verbs and the engine on the other: it describes pods and
containers to the plugins, and turns what they want into settings of the engine and the kernel.
Imported with the first plugin.
"""
