"""Log staff in."""

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Permission, User
from django.test import Client


def hashed_as_in_production(password: str) -> str:
    """The hash of a password for a service in a process of its own, which hashes as Django does by default."""
    return make_password(password, hasher="pbkdf2_sha256")


def log_in(client: Client, *permissions: str, is_staff: bool = True, username: str = "someone") -> User:
    """Log in as someone who has these permissions and no others."""
    user = User.objects.create_user(username, is_staff=is_staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return user
