"""Which loss a function is: its values held against a space of conventions, and named in fields."""
