-- A worker looks for the types and the versions of data that it knows: what others wait as is not in
-- its way. The version is told by the options, where it is not the first.
DROP INDEX job_parked;
CREATE INDEX job_parked_kind ON job (
    queue, type,
    CAST(ifnull(CASE WHEN json_valid(options) THEN json_extract(options, '$.version') END, 1) AS INTEGER),
    priority, run_at
) WHERE state = 6;
