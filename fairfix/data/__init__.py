"""Tables, data specs, and the rows that methods may see."""
