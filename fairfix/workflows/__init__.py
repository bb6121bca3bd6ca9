"""The public verbs: load, debias, audit, gate, predict, export, save."""
