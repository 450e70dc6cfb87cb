"""A keyring in memory, in place of the system's."""

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError


class MemoryKeyring(KeyringBackend):
    """Keeps passwords in a dictionary; `locked` refuses everything."""

    priority = 5

    def __init__(self):
        super().__init__()
        self.entries, self.locked = {}, False

    def set_password(self, service, username, password):
        self._check()
        self.entries[service, username] = password

    def get_password(self, service, username):
        self._check()
        return self.entries.get((service, username))

    def delete_password(self, service, username):
        self._check()
        if self.entries.pop((service, username), None) is None:
            raise PasswordDeleteError

    def _check(self):
        if self.locked:
            raise KeyringLocked
