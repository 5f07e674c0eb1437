"""The RPCs about the runtime itself: Version, Status, RuntimeConfig and UpdateRuntimeConfig."""
