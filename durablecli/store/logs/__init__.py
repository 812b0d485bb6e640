"""The logs of instances: what their functions have printed and logged."""
