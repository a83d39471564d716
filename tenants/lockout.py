"""Wrong passwords are limited, and nobody can lock another out by them.

The tight limit is on the pair of account and address: who guesses locks themselves out. An address alone has room for a
whole company behind it. An account alone is limited too, against guesses from many addresses; that limit lets pass the
addresses at which the person is signed in already.
"""

import time
from collections.abc import Callable

from allauth.core.internal import ratelimit
from django.core.cache import cache
from django.http import HttpRequest

APP = "atrium.sign_in"
# Failed sign-ins / time / what is counted.
RATES = {"pair": "5/5m/key", "address": "60/m/ip", "account": "100/h/key"}


def may_look(request: HttpRequest) -> bool:
    """Counts a look at identity providers, or a start of signing in by one; False when there were too many."""
    return bool(
        ratelimit.consume(request, app=APP, action="look", config={"look": "60/m/ip"}, limit_get=True)
    )


class Attempts:
    """The attempt of one request: counted before the password is looked at, taken back when it was right."""

    def __init__(self, request: HttpRequest, email: str, *, is_known: Callable[[str], bool]) -> None:
        """`is_known` says whether the person is signed in at an address already; asked only when it matters."""
        self._request = request
        self._address = ratelimit.get_ip(request)
        self._keys = {"pair": f"{email}|{self._address}", "address": "", "account": email}
        self._is_known = is_known
        self._used: list[ratelimit.RateLimitUsage] = []

    def take(self) -> int:
        """Count the attempt; 0 when it may be made, else the seconds until the next one may."""
        for action in RATES:
            usage = ratelimit.consume(
                self._request, app=APP, action=action, config=RATES, key=self._keys[action], limit_get=True
            )
            if usage:
                self._used.append(usage)
            elif action != "account" or not self._is_known(self._address):
                self.give_back()
                return self._wait(action)
        return 0

    def give_back(self) -> None:
        """The password was right (or was not looked at): nothing was guessed."""
        for usage in self._used:
            usage.rollback()
        self._used.clear()

    def _wait(self, action: str) -> int:
        """Until the oldest of the counted failures is out of the window."""
        [rate] = ratelimit.parse_rates(RATES[action])
        key = ratelimit.get_cache_key(
            self._request, app=APP, action=action, rate=rate, key=self._keys[action]
        )
        history: list[float] = cache.get(key, [])
        return max(1, round(history[-1] + rate.duration - time.time())) if history else 1
