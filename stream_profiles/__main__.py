"""`python -m stream_profiles` is `stream-profiles`."""

from .cli import main

main()
