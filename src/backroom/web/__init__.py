"""REST API and dashboard: what people watch and steer jobs with."""

from backroom.web.access import Identity, Role
from backroom.web.app import Dashboard, dashboard
from backroom.web.bounds import Bounds
from backroom.web.credentials import BasicAuth, NewToken, Token, read_credentials

__all__ = [
    "BasicAuth",
    "Bounds",
    "Dashboard",
    "Identity",
    "NewToken",
    "Role",
    "Token",
    "dashboard",
    "read_credentials",
]
