"""Text into vectors: encoders, and the batcher that keeps one busy. The only package that knows of torch."""
