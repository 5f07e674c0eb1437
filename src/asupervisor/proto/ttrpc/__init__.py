"""What ttrpc's messages carry, generated."""
