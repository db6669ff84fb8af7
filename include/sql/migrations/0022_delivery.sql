-- What delivery needs of the ledger: which message of a taken chunk was really begun.

alter table mkt_engage.sends add column called_at timestamptz;
comment on column mkt_engage.sends.called_at is
'committed just before the call. in_flight without it: provably not called, so safe to retake';
comment on column mkt_engage.sends.lease_until is
'in_flight: after this its worker is taken for dead. claimed: not before this (greylisting)';
comment on column mkt_engage.sends.attempts is
'times it was in flight; a release without a call takes one back';
comment on column mkt_engage.sends.reason is
'why it is where it is: a gate''s word, or the server''s code (never its text, which may hold an'
' address)';

create index on mkt_engage.sends (in_flight_at) where status = 'unknown';

alter table mkt_ops.sending_modes add column brand text;
comment on column mkt_ops.sending_modes.brand is
'the brand it sends for; what the stop switch may be thrown for';
