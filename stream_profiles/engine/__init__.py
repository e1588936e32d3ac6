"""The engine: Faust workers that turn topics of events into profiles, and lose nothing."""
