-- begin_action: at, actor, role, verb, target, detail -> its number
INSERT INTO {actions} (at, actor, role, verb, target, detail, outcome)
VALUES ($1, $2, $3, $4, $5, $6, 'begun') RETURNING id;

-- forget_actions: of how many, before when, up to which number -> nothing; their numbers are in the order
--     in which they began
DELETE FROM {actions} WHERE id IN (SELECT id FROM {actions} ORDER BY id LIMIT $1)
AND (at < $2 OR id <= $3);

-- end_action: number, at, outcome, changed, reason -> nothing
UPDATE {actions} SET ended_at = $2, outcome = $3, changed = $4, reason = $5
WHERE id = $1 AND outcome = 'begun';

-- actions: before, actor, verb, how many -> the newest ones
SELECT id, at, ended_at, actor, role, verb, target, detail, outcome, changed, reason FROM {actions}
WHERE id < $1 AND ($2::text IS NULL OR actor = $2) AND ($3::text IS NULL OR verb = $3)
ORDER BY id DESC LIMIT $4;
