"""What a message says: templates on disk, checked, frozen with their styles inlined, rendered."""

from marketing_ops.content.files import Meta, check, content_hash, load_template
from marketing_ops.content.rendering import ContentError, Rendered, render

__all__ = [
    "ContentError",
    "Meta",
    "Rendered",
    "check",
    "content_hash",
    "load_template",
    "render",
]
