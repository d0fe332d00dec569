"""The dashboard: pages that the server renders."""

from backroom.web.pages.routes import refusal, routes, sign_in

__all__ = ["refusal", "routes", "sign_in"]
