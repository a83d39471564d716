"""What the views share: ids from addresses, bodies that are too large refused before they are read."""

import uuid
from typing import Any

from django.core.exceptions import RequestDataTooBig
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from kernel.errors import NotFound, TooLarge
from kernel.ids import parse_uuid
from knowledge.limits import MAX_FILE_BYTES
from substrate.rest import AtriumView

IF_MATCH = OpenApiParameter(
    "If-Match",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="The version that was read; another one answers 412.",
)
# Boundaries, field names and the other fields of a form.
FORM_BYTES = 1024 * 1024


def base_id(text: str) -> uuid.UUID:
    """The id of a knowledge base in an address. Raises NotFound when it is none."""
    return _id(text, "There is no such knowledge base.")


def document_id(text: str) -> uuid.UUID:
    """The id of a document in an address. Raises NotFound when it is none."""
    return _id(text, "There is no such document.")


def _id(text: str, message: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound(message)
    return found


class BoundedView(AtriumView):
    """A view whose body may be as large as a file, and no larger."""

    body_limit = MAX_FILE_BYTES + FORM_BYTES

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse a body over the limit before any of it is parsed. Raises TooLarge."""
        length = str(request.META.get("CONTENT_LENGTH") or "0")
        if length.isdigit() and int(length) > self.body_limit:
            raise TooLarge(f"The body is larger than {self.body_limit // (1024 * 1024)} MB.")
        try:
            super().initial(request, *args, **kwargs)
        except RequestDataTooBig as error:
            # With an Idempotency-Key the whole body is read for its hash, within Django's own limit.
            raise TooLarge("A body with an Idempotency-Key is larger than the server takes.") from error
