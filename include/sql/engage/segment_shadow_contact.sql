-- grain: the one contact of a test   key: (contact_id)   reads: nothing
-- rerun: the caller rolls back after each test   params: columns of core.contacts
insert into pg_temp.contacts (
    contact_id, email, phone, first_name, last_name, country, region, city, postal_code, language,
    time_zone, birth_date, lifecycle, created_at, attributes, batch
)
values (
    1, %(email)s, %(phone)s, %(first_name)s, %(last_name)s, %(country)s, %(region)s, %(city)s,
    %(postal_code)s, %(language)s, %(time_zone)s, %(birth_date)s, %(lifecycle)s, %(created_at)s,
    %(attributes)s::jsonb, 1
)
