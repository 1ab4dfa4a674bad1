"""Which shape an export has: chosen by its fields, never by the name of the file."""

from chathub.errors import StartError
from chathub.reconcile.charges import Shape
from chathub.reconcile.exports import anthropic, deepseek, openai, openrouter, siliconflow
from chathub.reconcile.files import Table

SHAPES: tuple[Shape, ...] = (
    *openai.SHAPES,
    *anthropic.SHAPES,
    *openrouter.SHAPES,
    *deepseek.SHAPES,
    *siliconflow.SHAPES,
)


def shape_of(table: Table) -> Shape:
    """The shape whose fields a table has.

    Raises:
        StartError: it has none of the known ones.
    """
    for shape in SHAPES:
        if shape.fields <= table.fields:
            return shape
    if not table.fields:
        raise StartError(f"{table.name} has no rows")
    known = ", ".join(sorted({shape.title for shape in SHAPES}))
    raise StartError(f"{table.name} is none of the exports that are known: {known}")
