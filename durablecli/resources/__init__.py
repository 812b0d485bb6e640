"""Resources: values such as connections that activities share, set up when first needed and torn down at the end."""
