-- arrive: the key of the process -> nothing: this session holds it until it ends. The server does
--     not end it for being idle, and where nothing is heard of its other end, not within 120 s
SELECT pg_advisory_lock_shared($1::bigint),
       set_config('idle_session_timeout', '0', false),
       set_config('tcp_user_timeout', '180000', false),
       set_config('tcp_keepalives_idle', '60', false),
       set_config('tcp_keepalives_interval', '10', false),
       set_config('tcp_keepalives_count', '12', false);

-- enlist: name, lease, the moment, lease time (null: told by beats),
--     the key of its process (null: its sessions tell nothing), whether it claims nothing -> worker
INSERT INTO {workers} (name, lease, started_at, lease_until, presence, served, draining)
VALUES ($1, $2::float8, $3, $2::float8 + $4::float8, $5, {life}, $6)
RETURNING id;

-- extend: worker, lease time (null: told by beats) -> lease, whether it is to claim nothing
UPDATE {workers} SET beat = beat + 1, lease_until = lease + $2::float8, served = {life}
WHERE id = $1 RETURNING lease, draining;

-- look_round: our own key -> every worker, and whether no session of its process is left (null: that
--     tells nothing, or it is ours)
SELECT id, lease, beat, lease_until,
       CASE WHEN presence <> $1 AND served = {life}
            THEN pg_try_advisory_xact_lock(presence) END AS gone
FROM {workers};

-- dead: workers that are to be dead, their beats, whether their silence is enough ->
--     those that are, locked
WITH locked AS MATERIALIZED (
    SELECT w.id, w.name, w.presence, w.served, g.silent
    FROM {workers} AS w JOIN unnest($1::bigint[], $2::bigint[], $3::boolean[])
        AS g (id, beat, silent) ON w.id = g.id AND w.beat = g.beat
    ORDER BY w.id FOR UPDATE OF w SKIP LOCKED
)
SELECT id, name FROM locked
WHERE silent OR served = {life} AND pg_try_advisory_xact_lock(presence);
