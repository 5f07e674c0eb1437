"""The Container Network Interface, specification 1.1 and back to 0.3.1, as a runtime speaks it."""
