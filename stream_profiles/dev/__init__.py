"""For development and demonstrations: a real Kafka and a real Redis with nothing but pip, and a synthetic shop."""
