"""What Backroom costs, beside what the machine can do: `python3 dev.py bench embedded`."""
