"""Ports of the host that lead to pods."""
