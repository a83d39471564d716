"""What models, pools and engines may be called. Pure."""

import re
from urllib.parse import urlsplit

from inference.addresses import is_forbidden_host
from inference.types import MODEL_ID_LENGTH, POOL_NAME_LENGTH, REGION_LENGTH, URL_LENGTH
from kernel.errors import BadInput

EXTRACTIVE_MODEL = "atrium-extractive"
EMBEDDING_MODEL = "atrium-embedding"
BUILT_IN = frozenset({EXTRACTIVE_MODEL, EMBEDDING_MODEL})

MODEL_ID_PATTERN = rf"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{{0,{MODEL_ID_LENGTH - 1}}}\Z"
NAME_PATTERN = rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{POOL_NAME_LENGTH - 1}}}\Z"
_REGION = re.compile(rf"^[A-Za-z0-9._-]{{0,{REGION_LENGTH}}}\Z")
_SERVED_NAME = re.compile(rf"^[^\x00-\x1f\x7f]{{1,{MODEL_ID_LENGTH}}}\Z")


def check_model_id(model_id: str) -> str:
    """The id of a model to be registered. Raises BadInput for odd characters and for ids that mean something else."""
    if not re.match(MODEL_ID_PATTERN, model_id):
        raise BadInput(
            f"A model's id has 1–{MODEL_ID_LENGTH} letters, digits or `._:/@+-`, a letter or digit first.",
            param="model",
        )
    if model_id == "auto" or model_id.startswith("assistant/") or model_id in BUILT_IN:
        raise BadInput(f"The model id `{model_id}` is reserved.", param="model")
    return model_id


def check_pool_name(name: str) -> str:
    """The name of a pool to be registered. Raises BadInput."""
    if not re.match(NAME_PATTERN, name):
        raise BadInput(
            f"A pool's name has 1–{POOL_NAME_LENGTH} letters, digits or `._-`, a letter or digit first.",
            param="pool",
        )
    if name in BUILT_IN:
        raise BadInput(f"The pool name `{name}` is reserved.", param="pool")
    return name


def check_region(region: str) -> str:
    """A region's name, or nothing. Raises BadInput."""
    if not _REGION.match(region):
        raise BadInput(f"A region has up to {REGION_LENGTH} letters, digits or `._-`.", param="region")
    return region


def check_served_name(name: str) -> str:
    """What the engine itself calls the model. Raises BadInput."""
    if not _SERVED_NAME.match(name):
        raise BadInput(
            f"A served name has 1–{MODEL_ID_LENGTH} characters, none of them a control character.",
            param="served_name",
        )
    return name


def normal_url(url: str) -> str:
    """The base URL of an engine without a closing slash. Raises BadInput when it is none that ends in `/v1`."""
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise BadInput("The engine's URL cannot be read.", param="url") from None
    if not fine or not url.isprintable() or " " in url or not url.isascii():
        raise BadInput("The engine's URL is http://… or https://…", param="url")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadInput("The engine's URL has no user, password, query or fragment.", param="url")
    if is_forbidden_host(parts.hostname or ""):
        raise BadInput("The engine's URL is the address of a cloud's metadata.", param="url")
    if not parts.path.endswith("/v1"):
        raise BadInput("The engine's URL is the OpenAI base URL and ends in /v1.", param="url")
    if len(url) > URL_LENGTH:
        raise BadInput(f"The engine's URL is longer than {URL_LENGTH} characters.", param="url")
    return url


def guessed_url(text: str) -> str:
    """The base URL that a person means by `text`: `http://` and `/v1` may be missing. Raises BadInput."""
    text = text.strip()
    if text and "://" not in text:
        text = f"http://{text}"
    bare = text.rstrip("/")
    for end in ("/chat/completions", "/completions", "/embeddings", "/models"):
        bare = bare.removesuffix(end)
    return normal_url(bare if bare.endswith("/v1") else f"{bare}/v1")
