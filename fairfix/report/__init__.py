"""Documents rendered as Markdown, HTML, JUnit, SARIF and model cards, and their JSON Schema."""
