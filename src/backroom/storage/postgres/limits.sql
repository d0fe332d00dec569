-- put_limits: names, mosts, pers, bursts -> nothing
INSERT INTO {limits} AS l (name, most, per, burst)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
    AS g (name, most, per, burst) ORDER BY name
ON CONFLICT (name) DO UPDATE SET most = excluded.most, per = excluded.per, burst = excluded.burst
WHERE (l.most, l.per, l.burst) <> (excluded.most, excluded.per, excluded.burst);

-- know_limits: the same -> nothing: of those that have no number yet
INSERT INTO {limits} (name, most, per, burst)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
    AS g (name, most, per, burst) ORDER BY name
ON CONFLICT DO NOTHING;

-- limit_queue: name, the number that nobody reaches, what an operator says (null: nothing) -> nothing
INSERT INTO {limits} (name, most, per, burst, own) VALUES ($1, $2, 0, 1, $3)
ON CONFLICT (name) DO UPDATE SET own = excluded.own;

-- count_held: name, queue -> nothing: what somebody holds of this queue counts. The gate is locked, so that
--     whom its holder asks room for has been let in or put aside. Of those that end at this moment,
--     and of those whose worker has not heard of the limit, `unheld` finds what is left
INSERT INTO {permits} (job, name, key, slots)
SELECT j.id, $1, '', 1 FROM {held} AS h, unnest(h.ids) AS i (id),
LATERAL (SELECT * FROM {jobs} AS o WHERE o.id = i.id LIMIT 1) AS j WHERE j.queue = $2
ON CONFLICT DO NOTHING;

-- operated: -> name, number of the limits of which operators have said one
SELECT name, own FROM {limits} WHERE own IS NOT NULL;

-- all_limits: of less than the number that nobody reaches -> name, most, per, burst, slots that are held, how many wait
SELECT l.name, coalesce(l.own, l.most) AS most, l.per, l.burst, l.own,
       (SELECT coalesce(sum(p.slots), 0)::bigint FROM {permits} AS p WHERE p.name = l.name) AS used,
       (SELECT count(*) FROM {blocked} AS b WHERE b.name = l.name AND b.called_at IS NULL) AS blocked
FROM {limits} AS l WHERE l.own IS NOT NULL OR l.most < $1 ORDER BY l.name;

-- lock_claims: worker, tokens -> the jobs that it still holds under these, and whether they were asked to
--     end; their rows locked, as whoever ends the holding does it first
SELECT i.id, EXISTS (SELECT FROM {cancels} AS c WHERE c.id = i.id) AS asked
FROM (SELECT token, ids FROM {held} WHERE worker = $1 AND token = ANY($2::bigint[])
      ORDER BY token FOR UPDATE) AS h, unnest(h.ids) AS i (id);

-- new_gates: names, keys -> nothing
INSERT INTO {gates} (name, key)
SELECT DISTINCT name, key FROM unnest($1::text[], $2::text[]) AS g (name, key) ORDER BY name, key
ON CONFLICT DO NOTHING;

-- lock_gates: names, keys -> a row for each that is there; held until the end
SELECT g.name FROM {gates} AS g JOIN unnest($1::text[], $2::text[]) AS w (name, key)
    ON g.name = w.name AND g.key = w.key
ORDER BY g.name, g.key FOR UPDATE OF g;

-- lock_gates_of: jobs -> name and key of each place at which they hold something, or wait; its gate, if it
--     is there, held until the end
WITH places AS MATERIALIZED (
    SELECT p.name, p.key FROM {permits} AS p WHERE p.job = ANY($1::uuid[])
    UNION SELECT b.name, b.key FROM {blocked} AS b WHERE b.id = ANY($1::uuid[])
), locked AS MATERIALIZED (
    SELECT g.name FROM {gates} AS g WHERE (g.name, g.key) IN (SELECT name, key FROM places)
    ORDER BY g.name, g.key FOR UPDATE
)
SELECT p.name, p.key FROM places AS p WHERE (SELECT count(*) FROM locked) >= 0;

-- gates: names, keys -> how each stands. Said when they are locked, so that it sees what was done by
--     those who held them before
SELECT g.name, g.key, coalesce(l.own, l.most) AS most,
       (SELECT coalesce(sum(p.slots), 0)::bigint FROM {permits} AS p
        WHERE p.name = g.name AND p.key = g.key) AS used,
       c.priorities, c.run_ats, c.ids, c.slots, f.priority, f.run_at, f.id, l.per, l.burst,
       o.free_at
FROM unnest($1::text[], $2::text[]) AS g (name, key) JOIN {limits} AS l USING (name)
JOIN {gates} AS o ON o.name = g.name AND o.key = g.key
CROSS JOIN LATERAL (
    SELECT array_agg(b.priority) AS priorities, array_agg(b.run_at) AS run_ats,
           array_agg(b.id) AS ids, array_agg(b.slots) AS slots FROM {blocked} AS b
    WHERE b.name = g.name AND b.key = g.key AND b.called_at IS NOT NULL) AS c
LEFT JOIN LATERAL (
    SELECT b.priority, b.run_at, b.id FROM {blocked} AS b
    WHERE b.name = g.name AND b.key = g.key AND b.called_at IS NULL
    AND NOT EXISTS (SELECT FROM {queues} AS q WHERE q.name = b.queue AND q.paused)
    ORDER BY b.priority, b.run_at, b.id LIMIT 1) AS f ON true;

-- answer: jobs that were called, perhaps, and are claimed now -> those that were, and where they stood:
--     the room that was kept for them is theirs, or others'
DELETE FROM {blocked} WHERE id = ANY($1::uuid[]) RETURNING id, run_at;

-- no_answer: until when -> nothing: room is kept no longer for those that were called before
DELETE FROM {blocked} WHERE called_at <= $1;

-- too_far: a moment -> nothing: those that were told one that is too far away, since the clock was set
--     back, stand in line again
WITH far AS MATERIALIZED (
    SELECT b.id FROM {blocked} AS b JOIN {limits} AS l USING (name)
    WHERE b.called_at > $1 + l.per FOR UPDATE OF b SKIP LOCKED
), gone AS (
    DELETE FROM {ready} WHERE ctid = ANY(ARRAY(
        SELECT r.place FROM {jobs} AS j, LATERAL (
            SELECT ctid AS place FROM {ready} AS o WHERE o.queue = j.queue
            AND o.priority = j.priority AND o.run_at = j.run_at AND o.id = j.id
            LIMIT 1 FOR UPDATE SKIP LOCKED) AS r
        WHERE j.id = ANY(ARRAY(SELECT id FROM far)))) RETURNING id
)
UPDATE {blocked} SET called_at = NULL WHERE id IN (SELECT id FROM gone);

-- not_yet: jobs that have just been claimed, and the names and keys where they ask for room -> nothing: they
--     hold none there yet
DELETE FROM {permits} WHERE job = ANY($1::uuid[])
AND (name, key) IN (SELECT name, key FROM unnest($2::text[], $3::text[]) AS g (name, key));

-- hold_none: jobs that are put aside, as nobody's -> nothing: also what they were counted in since the claim
DELETE FROM {permits} WHERE job = ANY($1::uuid[]);

-- grant: jobs, names, keys, slots -> nothing
INSERT INTO {permits} (job, name, key, slots)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[])
ON CONFLICT (job, name, key) DO UPDATE SET slots = excluded.slots;

-- pace: names, keys, moments -> nothing
UPDATE {gates} AS g SET free_at = w.free_at
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS w (name, key, free_at)
WHERE g.name = w.name AND g.key = w.key;

-- line_up: jobs that nobody holds any more, names, keys, slots, where they stand -> nothing
INSERT INTO {blocked} (name, key, priority, run_at, id, slots, queue, expires_at)
SELECT g.name, g.key, j.priority, g.run_at, j.id, g.slots, j.queue,
       CASE WHEN j.attempt = 0 AND j.started_at IS NULL THEN j.expires_at END
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
    AS g (id, name, key, slots, run_at),
LATERAL (SELECT * FROM {jobs} AS o WHERE o.id = g.id LIMIT 1) AS j
ON CONFLICT (id) DO UPDATE SET name = excluded.name, key = excluded.key, slots = excluded.slots,
    priority = excluded.priority, run_at = excluded.run_at, called_at = NULL;

-- limited_behind: queue, priority, now, how many -> of those that wait next, the limited ones for which no room
--     is kept
SELECT w.id, w.run_at, j.options FROM (
    SELECT id, run_at FROM {ready} WHERE queue = $1 AND priority = $2 AND run_at <= $3
    ORDER BY run_at, id LIMIT $4) AS w,
LATERAL (SELECT options FROM {jobs} AS o WHERE o.id = w.id LIMIT 1) AS j
WHERE position('"limits":' IN j.options) > 0
AND (SELECT true FROM {blocked} AS b WHERE b.id = w.id LIMIT 1) IS NULL;

-- step_aside: queue, priority, ids, moments -> those of them that still waited, and do not now
DELETE FROM {ready} WHERE ctid = ANY(ARRAY(
    SELECT w.place FROM unnest($3::uuid[], $4::bigint[]) AS g (id, run_at), LATERAL (
        SELECT ctid AS place FROM {ready} AS r
        WHERE r.queue = $1 AND r.priority = $2 AND r.run_at = g.run_at AND r.id = g.id
        LIMIT 1 FOR UPDATE SKIP LOCKED) AS w))
RETURNING id;

-- drop_permits: jobs -> name and key of what they held, or waited for
WITH gone AS (
    DELETE FROM {permits} WHERE job = ANY($1::uuid[]) RETURNING name, key
), left_ AS (
    DELETE FROM {blocked} WHERE id = ANY($1::uuid[]) RETURNING name, key
)
SELECT f.name, f.key, l.per > 0 AS rate
FROM (SELECT name, key FROM gone UNION SELECT name, key FROM left_) AS f JOIN {limits} AS l USING (name);

-- let_in: names, keys, now -> the moments of those that were called: as many from each head as fit
WITH given AS MATERIALIZED (
    SELECT g.name, g.key, coalesce(l.own, l.most) AS most, coalesce(l.own, l.most)
        - (SELECT coalesce(sum(p.slots), 0)::bigint FROM {permits} AS p
           WHERE p.name = g.name AND p.key = g.key)
        - (SELECT coalesce(sum(least(b.slots, coalesce(l.own, l.most))), 0)::bigint FROM {blocked} AS b
           WHERE b.name = g.name AND b.key = g.key AND b.called_at IS NOT NULL) AS room
    FROM unnest($1::text[], $2::text[]) AS g (name, key) JOIN {limits} AS l USING (name)
    WHERE l.per = 0
), heads AS MATERIALIZED (
    SELECT g.room, h.id, sum(least(h.slots, g.most)) OVER (
        PARTITION BY g.name, g.key ORDER BY h.priority, h.run_at, h.id) AS upto
    FROM given AS g, LATERAL (
        SELECT b.priority, b.run_at, b.id, b.slots FROM {blocked} AS b
        WHERE b.name = g.name AND b.key = g.key AND b.called_at IS NULL
        AND NOT EXISTS (SELECT FROM {queues} AS q WHERE q.name = b.queue AND q.paused)
        ORDER BY b.priority, b.run_at, b.id LIMIT greatest(0, g.room)
        FOR UPDATE SKIP LOCKED) AS h
), called AS (
    UPDATE {blocked} SET called_at = $3 WHERE id IN (SELECT id FROM heads WHERE upto <= room)
    RETURNING queue, priority, id, expires_at
)
INSERT INTO {ready} (queue, priority, run_at, id, expires_at)
SELECT c.queue, c.priority, j.run_at, c.id, c.expires_at FROM called AS c,
LATERAL (SELECT run_at FROM {jobs} AS o WHERE o.id = c.id LIMIT 1) AS j RETURNING run_at;

-- heads: name, key, how many -> the first that wait there, locked
SELECT b.id, b.priority, b.run_at FROM {blocked} AS b WHERE b.name = $1 AND b.key = $2 AND b.called_at IS NULL
AND NOT EXISTS (SELECT FROM {queues} AS q WHERE q.name = b.queue AND q.paused)
ORDER BY b.priority, b.run_at, b.id LIMIT $3 FOR UPDATE SKIP LOCKED;

-- tell: ids, moments -> nothing: they wait to be claimed then
WITH called AS (
    UPDATE {blocked} AS b SET called_at = g.at FROM unnest($1::uuid[], $2::bigint[]) AS g (id, at)
    WHERE b.id = g.id RETURNING b.queue, b.priority, b.id, b.expires_at, g.at
), moved AS (
    UPDATE {jobs} AS j SET run_at = c.at FROM called AS c WHERE j.id = c.id
)
INSERT INTO {ready} (queue, priority, run_at, id, expires_at)
SELECT queue, priority, at, id, expires_at FROM called;

-- places_after: name, key, how many -> the next lines that somebody waits in
WITH RECURSIVE place (name, key, n) AS (
    SELECT * FROM (SELECT name, key, 1 FROM {blocked}
                   WHERE called_at IS NULL AND (name, key) > ($1, $2)
                   ORDER BY name, key LIMIT 1) AS first
    UNION ALL
    SELECT b.name, b.key, p.n + 1 FROM place AS p, LATERAL (
        SELECT name, key FROM {blocked}
        WHERE called_at IS NULL AND (name, key) > (p.name, p.key)
        ORDER BY name, key LIMIT 1) AS b
    WHERE p.n < $3
)
SELECT name, key FROM place;

-- limited: -> whether anybody counts, waits in a line, or takes turns
SELECT EXISTS (SELECT FROM {gates}) OR EXISTS (SELECT FROM {permits})
       OR EXISTS (SELECT FROM {blocked}) OR EXISTS (SELECT FROM {later})
       OR EXISTS (SELECT FROM {turns});

-- unheld: -> jobs that have permits, and that nobody holds
SELECT DISTINCT job FROM {permits}
WHERE job NOT IN (SELECT i.id FROM {held} AS h, unnest(h.ids) AS i (id));

-- drop_unheld: jobs -> as `drop_permits`, of what is free, now that it is certain that nobody holds them: the gates
--     are locked. Where they wait is not touched
WITH gone AS (
    DELETE FROM {permits} WHERE job = ANY($1::uuid[])
    AND job NOT IN (SELECT i.id FROM {held} AS h, unnest(h.ids) AS i (id)) RETURNING name, key
)
SELECT DISTINCT g.name, g.key, l.per > 0 AS rate FROM gone AS g JOIN {limits} AS l USING (name);

-- idle_gates: how many, since when -> nothing: those at which nobody is, and nobody waits, go
DELETE FROM {gates} WHERE ctid = ANY(ARRAY(
    SELECT g.ctid FROM {gates} AS g
    WHERE (SELECT true FROM {permits} AS p WHERE p.name = g.name AND p.key = g.key LIMIT 1) IS NULL
    AND (SELECT true FROM {blocked} AS b
         WHERE b.name = g.name AND b.key = g.key AND b.called_at IS NULL LIMIT 1) IS NULL
    AND (SELECT true FROM {blocked} AS b
         WHERE b.name = g.name AND b.key = g.key AND b.called_at IS NOT NULL LIMIT 1) IS NULL
    AND g.free_at < $2 LIMIT $1 FOR UPDATE SKIP LOCKED));
