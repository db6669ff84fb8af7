"""The tables that segments read, as the compiler sees them; only the columns it may name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

_EVENT_COLUMNS = """
    event_id contact_id event_type occurred_at key amount currency reporting_amount order_id
    campaign_id is_machine batch
"""
_CONTACT_COLUMNS = """
    contact_id country region city postal_code language time_zone birth_date lifecycle is_deleted
    batch
"""


@dataclass(frozen=True)
class Tables:
    """The relations, in the schemas `core` and `engage`; a test of files has shadows of them."""

    core: str = "mkt_core"
    engage: str = "mkt_engage"

    def named(self, relation: str) -> sa.TableClause:
        """A relation with a column contact_id, by its (schema-qualified) name."""
        schema, _, name = relation.rpartition(".")
        return sa.table(name, sa.column("contact_id"), schema=schema or None)

    @property
    def contacts(self) -> sa.TableClause:
        """Contacts as known now."""
        own = "created_at email phone first_name last_name"
        return self._table(self.core, "contacts", f"{_CONTACT_COLUMNS} {own}", "attributes")

    @property
    def contact_history(self) -> sa.TableClause:
        """Observed versions of contacts."""
        columns = f"{_CONTACT_COLUMNS} valid_from"
        return self._table(self.core, "contact_history", columns, "attributes")

    @property
    def contact_merges(self) -> sa.TableClause:
        """Merges of contacts."""
        return self._table(self.core, "contact_merges", "from_contact_id undone_batch batch")

    @property
    def events(self) -> sa.TableClause:
        """The current version of every event."""
        return self._table(self.core, "events", _EVENT_COLUMNS, "properties")

    @property
    def event_versions(self) -> sa.TableClause:
        """Versions of events that a later batch replaced or removed."""
        columns = f"{_EVENT_COLUMNS} gone_batch"
        return self._table(self.core, "event_versions", columns, "properties")

    @property
    def order_lines(self) -> sa.TableClause:
        """Lines of orders."""
        return self._table(self.core, "order_lines", "order_id product_id")

    @property
    def products(self) -> sa.TableClause:
        """Products with their category."""
        return self._table(self.core, "products", "product_id category")

    @property
    def consents(self) -> sa.TableClause:
        """Changes of consent."""
        names = "contact_id brand channel topic status changed_at batch"
        return self._table(self.core, "consents", names)

    @property
    def consent_now(self) -> sa.TableClause:
        """Consent as it stands."""
        return self._table(self.core, "consent_now", "contact_id brand channel topic status")

    @property
    def campaigns(self) -> sa.TableClause:
        """Names of campaigns."""
        return self._table(self.engage, "campaigns", "campaign_id campaign")

    @staticmethod
    def _table(schema: str, name: str, columns: str, document: str = "") -> sa.TableClause:
        found: list[sa.ColumnClause[Any]] = [sa.column(column) for column in columns.split()]
        if document:
            found.append(sa.column(document, JSONB))
        return sa.table(name, *found, schema=schema)


REAL = Tables()
"""The warehouse's own tables."""
