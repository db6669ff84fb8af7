"""KPIs: what they mean (YAML), how they are computed (SQL), rolled up, checked and summed up."""
