"""The RPCs of pod sandboxes, one file each, and the steps that stop, removal and rollback share."""
