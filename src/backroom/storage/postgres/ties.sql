-- tied: ids -> those of them that something may hang on, or that are counted in a limit that was put while
--     they were held; each looked up by itself
SELECT g.id FROM unnest($1::uuid[]) AS g (id),
LATERAL (SELECT options FROM {jobs} AS j WHERE j.id = g.id LIMIT 1) AS j
WHERE position('"tied":' IN j.options) > 0
OR (SELECT true FROM {permits} AS p WHERE p.job = g.id LIMIT 1);
