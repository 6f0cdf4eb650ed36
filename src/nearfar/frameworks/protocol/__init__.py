"""What a framework is to nearfar: its operations, and what is passed between them."""
