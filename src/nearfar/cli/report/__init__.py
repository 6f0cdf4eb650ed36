"""What people see of a fit: the table and the picture."""
