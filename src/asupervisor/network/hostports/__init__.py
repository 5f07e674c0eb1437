"""Host ports of kubenet's pods: who has which, the sockets that hold them, iptables rules."""
