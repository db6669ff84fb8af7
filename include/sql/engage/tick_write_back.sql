-- grain: one enrolment that moved, with where it rests now
-- reads: tick_work    writes: mkt_engage.enrolments    params: at
-- rerun: the same
update mkt_engage.enrolments as n
set
    step_id = w.step_id,
    visit = w.visit,
    status = w.status,
    exit_reason = w.exit_reason,
    due_at = w.due_at,
    hold_since = w.hold_since,
    arms = w.arms,
    updated_at = %(at)s
from tick_work as w
where n.enrolment_id = w.enrolment_id and w.is_changed;
