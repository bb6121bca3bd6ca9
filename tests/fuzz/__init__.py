"""Fuzzing: mutated checkpoints, tables and documents never run code, hang or fail inside."""
