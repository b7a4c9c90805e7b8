"""Say what the destination table of an enrichment looks like."""

from __future__ import annotations

from vision_batch.enrichment.declaration import Declaration
from vision_batch.warehouse.protocol import Column, TableSpec


def table_spec(declaration: Declaration) -> TableSpec:
    """Return the table: one typed column for each field of the answer, and where the answer comes from."""
    schema, table = declaration.destination.table.split(".")
    return TableSpec(
        schema=schema,
        table=table,
        fields=tuple(
            Column(column.name, column.field.column_type, column.comment) for column in declaration.answer.columns()
        ),
        question_key=declaration.question_key(),
        own=declaration.own,
        comment=declaration.description,
        question=declaration.question().render({}, None),
    )
