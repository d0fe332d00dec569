"""Backroom inside other frameworks, one module each. They are imported only by who uses them:
`backroom.contrib.flask` needs Flask, which `pip install backroom[flask]` brings."""
