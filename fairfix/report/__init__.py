"""From an outcome to a report: ``document`` says what is in it, one module a format writes it."""
