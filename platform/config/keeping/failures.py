"""What can go wrong with a backup file, each in one line for the person at the keyboard."""

from kernel.errors import BadInput, Conflict, Unavailable


class NotABackup(BadInput):
    """The file is damaged, cut short, tampered with, or no backup at all."""

    code = "not_a_backup"
    default_message = "This file is not a whole backup of Atrium."


class WrongVersion(Conflict):
    """The backup's format or schema is not one that this version can restore."""

    code = "backup_version"


class KeepingBusy(Conflict):
    """A backup is being taken, or one is being restored, and only one of these can be done at a time."""

    code = "keeping_busy"


class KeepingFailed(Unavailable):
    """A backup could not be written, or a restore could not go on: a disk is full, a service is away."""

    code = "keeping_failed"


class WrongPassphrase(BadInput):
    """The passphrase does not open the keyring file, or the file was changed."""

    code = "wrong_passphrase"
    default_message = "The passphrase does not open this keyring file."

    def __init__(self) -> None:
        """Said of the field `passphrase`."""
        super().__init__(self.default_message, param="passphrase")
