-- Records can be renamed. The old version of the service neither reads nor
-- writes these columns, and goes on while both run.
ALTER TABLE files
    -- Counts the changes: what a conditional change compares.
    ADD COLUMN revision   bigint      NOT NULL DEFAULT 0,

    -- By the database's clock, and never before an earlier change, even if that
    -- clock steps back.
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();

UPDATE files SET updated_at = created_at;

-- Every replica's cache forgets a record that has changed: each listens.
CREATE FUNCTION files_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('files_changed', OLD.id::text);
    RETURN NULL;
END
$$;

CREATE TRIGGER files_changed AFTER UPDATE OR DELETE ON files
    FOR EACH ROW EXECUTE FUNCTION files_changed();
