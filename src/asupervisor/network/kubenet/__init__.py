"""kubenet: one bridge on the node, addresses from the node's pod CIDR."""
