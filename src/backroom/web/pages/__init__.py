"""The dashboard: pages that the server renders."""

from backroom.web.pages.rendering import compile_templates
from backroom.web.pages.routes import refusal, routes, sign_in

__all__ = ["compile_templates", "refusal", "routes", "sign_in"]
