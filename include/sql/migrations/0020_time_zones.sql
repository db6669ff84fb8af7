-- The zones of mkt_core as the gates read them: one list of zones, one fallback per country.

create view mkt_engage.time_zones as
select z.time_zone from mkt_core.time_zones as z;
comment on view mkt_engage.time_zones is 'zones this server can compute with';

create view mkt_engage.country_zones as
select
    r.country,
    r.time_zone
from mkt_core.region_time_zones as r
where r.region = '';
comment on view mkt_engage.country_zones is 'a country''s usual zone, for contacts without one';
