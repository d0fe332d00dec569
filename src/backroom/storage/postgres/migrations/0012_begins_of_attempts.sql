-- When the code of an attempt that failed had begun; NULL where nobody knows.
ALTER TABLE {errors} ADD COLUMN began bigint;
