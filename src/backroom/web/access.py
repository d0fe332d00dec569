"""Roles and identities: who may what."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from backroom.errors import ConfigurationError

__all__ = ["Identity", "Role", "role_of"]


class Role(IntEnum):
    """What somebody may. Each may all that those before it may."""

    PUBLIC = 0
    """Anybody, unasked: what tells nothing, as whether the process lives."""
    READ = 1
    """Look at everything (but at what is hidden from this role)."""
    OPERATE = 2
    """Retry, cancel, pause, drain, run now: what mends, and can be taken back."""
    ADMIN = 3
    """Delete, and schedule jobs of any type."""


def role_of(name: object) -> Role:
    """Of its name, as people write it: "read", "operate", "admin".

    Raises:
        ConfigurationError: there is no such role.
    """
    if isinstance(name, Role) and name is not Role.PUBLIC:
        return name
    roles = {role.name.lower(): role for role in Role if role is not Role.PUBLIC}
    found = roles.get(name) if isinstance(name, str) else None
    if found is None:
        raise ConfigurationError(f"a role is one of {', '.join(roles)}, got {name!r}")
    return found


class Identity(msgspec.Struct, frozen=True):
    """Somebody who asks."""

    name: str
    """For the record of what was done: "ada", "token:grafana"."""
    role: Role
    by_cookie: bool = False
    """A browser sent it along by itself, whoever made it ask."""


NOBODY = Identity("nobody", Role.PUBLIC)
