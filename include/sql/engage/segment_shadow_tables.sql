-- grain: as the real tables, whose columns and defaults they copy
-- reads: nothing   rerun: fails; they end with the transaction
create temp table contacts (like mkt_core.contacts including defaults) on commit drop;
create temp table events (like mkt_core.events including defaults) on commit drop;
create temp table consent_now (like mkt_core.consent_now including defaults) on commit drop;
create temp table order_lines (like mkt_core.order_lines including defaults) on commit drop;
create temp table products (like mkt_core.products including defaults) on commit drop;
create temp table campaigns (like mkt_engage.campaigns including defaults) on commit drop;
