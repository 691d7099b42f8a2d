"""Log staff in."""

from django.contrib.auth.models import Permission, User
from django.test import Client


def log_in(client: Client, *permissions: str, is_staff: bool = True, username: str = "someone") -> User:
    """Log in as someone who has these permissions and no others."""
    user = User.objects.create_user(username, is_staff=is_staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return user
