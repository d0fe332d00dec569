-- stranded: before which id, how many -> how many it has looked at, the last of them, and those of them that
--     are stranded
WITH lot AS MATERIALIZED (
    SELECT id, type, queue, priority, run_at FROM {jobs} WHERE id <= $1 ORDER BY id DESC LIMIT $2
)
SELECT count(*) AS seen, (SELECT id FROM lot ORDER BY id LIMIT 1) AS last, ARRAY(
    SELECT j.id FROM lot AS j WHERE {nowhere} ORDER BY j.id) AS ids
FROM lot;

-- stranded_among: ids -> those of them that are, and the worker that has them, which is unknown
SELECT j.id, j.queue, (
    SELECT h.worker FROM {held} AS h WHERE j.id = ANY(h.ids) LIMIT 1) AS worker
FROM unnest($1::uuid[]) AS g (id), LATERAL (SELECT * FROM {jobs} AS o WHERE o.id = g.id LIMIT 1) AS j
WHERE {nowhere};

-- held_by_nobody: ids -> those that are in one hand with one of these, which is of no worker
SELECT DISTINCT i.id FROM {held} AS h, unnest(h.ids) AS i (id)
WHERE h.ids && $1::uuid[] AND h.worker NOT IN (SELECT id FROM {workers});

-- displace: ids -> nothing: they stand nowhere, not even where their rows do not say
WITH ready AS (
    DELETE FROM {ready} WHERE id = ANY($1::uuid[])
), parked AS (
    DELETE FROM {parked} WHERE id = ANY($1::uuid[])
)
DELETE FROM {waiting} WHERE id = ANY($1::uuid[]);
