"""Mails and reports in the background. Begin with `jobs.py`: that is what an application writes."""
