"""The checks of a hub: its files against the invariants, and the repair of damaged ones."""
