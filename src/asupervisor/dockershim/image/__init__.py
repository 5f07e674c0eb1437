"""The RPCs of images, one file each."""
