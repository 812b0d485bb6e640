"""An author's entities: what an operation is given, which operations a class has, and how its state is kept."""
