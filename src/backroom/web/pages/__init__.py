"""The dashboard: pages that the server renders."""

from backroom.web.pages.routes import refusal, routes

__all__ = ["refusal", "routes"]
