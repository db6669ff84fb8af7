-- grain: one consent of the contact of a test   reads: nothing
-- rerun: the caller rolls back after each test   params: brand, channel, topic, status, changed_at
insert into pg_temp.consent_now (contact_id, brand, channel, topic, status, changed_at)
values (1, %(brand)s, %(channel)s, %(topic)s, %(status)s, %(changed_at)s)
