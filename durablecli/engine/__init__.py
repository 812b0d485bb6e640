"""The hands: gathers arrivals, runs turns, commits them, and acts on what is committed."""
