-- grain: the campaign of a test's event   reads: nothing
-- rerun: the caller rolls back after each test   params: number, campaign
insert into pg_temp.campaigns (campaign_id, campaign, brand, state_changed_at, state_changed_by)
values (%(number)s, %(campaign)s, 'test', '2000-01-01', 'test')
