"""The connection form of an SMTP account. Delivery speaks the protocol."""

from __future__ import annotations

from marketing_ops.sources.base import ConnectionForm, FormField, Source
from marketing_ops.sources.smtp import check

SMTP = Source(
    system="smtp",
    form=ConnectionForm(
        conn_type="marketing_ops_smtp",
        hook_name="Marketing Ops: SMTP",
        hook_class="marketing_ops.sources.smtp.hook.SmtpAccountHook",
        hidden=("schema", "extra"),
        relabeling={"host": "Server", "login": "User", "password": "Password"},
        placeholders={"host": "smtp.example.com", "port": "587"},
        fields={
            "security": FormField(
                label="Security",
                description="starttls, ssl or none",
                default="starttls",
            ),
            "timeout": FormField(label="Timeout in seconds", kind="integer", default=30),
        },
    ),
    client=check.build,
    check=check.check,
    channels=("email",),
)
