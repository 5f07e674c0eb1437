"""The Container Network Interface, specification 0.1.0 to 1.1.0, as a runtime speaks it."""
