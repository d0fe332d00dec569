-- When the code of an attempt that failed had begun; NULL where nobody knows.
ALTER TABLE job_error ADD COLUMN began INTEGER;
