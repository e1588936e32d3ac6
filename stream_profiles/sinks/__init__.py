"""Where profiles go: Redis for reading, the delta topic for following."""
