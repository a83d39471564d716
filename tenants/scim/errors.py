"""What is wrong with a SCIM request, in SCIM's own words."""

from kernel.errors import BadInput, Conflict


class ScimError(BadInput):
    """A request that is refused with 400; `code` is the `scimType` of RFC 7644 §3.12."""

    code = "invalidSyntax"


class InvalidFilter(ScimError):
    """The filter cannot be read, or asks for what cannot be filtered by."""

    code = "invalidFilter"


class InvalidPath(ScimError):
    """The path of a patch names nothing there is."""

    code = "invalidPath"


class InvalidValue(ScimError):
    """A value is missing or is not of its kind."""

    code = "invalidValue"


class NoTarget(ScimError):
    """The path of a patch selects nothing."""

    code = "noTarget"


class Immutable(ScimError):
    """The attribute is not the directory's to change."""

    code = "mutability"


class NotUnique(Conflict):
    """Another resource has this value already."""

    code = "uniqueness"
