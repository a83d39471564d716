"""Turns: what one process of all may do is done by whoever holds its turn, a row that its owner puts off while it lives."""

import os
import socket
import uuid
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q

from kernel.clock import SYSTEM_CLOCK, Clock
from routing.models import ScalingTurn

# Longer than what is done in one look takes.
TURN_S = 60.0


def own_name() -> str:
    """What this process calls itself when it takes a turn; another one each time."""
    return f"{socket.gethostname()[:64]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def take_turn(*, name: str, owner: str, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Whether it is `owner`'s turn from now for `TURN_S`: it was before, or is nobody's any more."""
    now = clock.now()
    until = now + timedelta(seconds=TURN_S)
    mine = Q(owner=owner) | Q(until__lt=now)
    if ScalingTurn.objects.filter(mine, name=name).update(owner=owner, until=until):
        return True
    try:
        with transaction.atomic():
            _, made = ScalingTurn.objects.get_or_create(name=name, defaults={"owner": owner, "until": until})
    except IntegrityError:
        return False
    return made


def give_turn_back(*, name: str, owner: str) -> None:
    """It is nobody's turn, if it was `owner`'s."""
    ScalingTurn.objects.filter(name=name, owner=owner).delete()
