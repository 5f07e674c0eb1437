"""The RPCs of containers, one file each, and what only these need: archives of checkpoints,
devices, host paths, limits beside the engine, ends and outputs of commands.
"""
