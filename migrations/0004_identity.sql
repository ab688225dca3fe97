-- Which database this is. A content folder remembers it: the sweep removes content
-- that has no record, which with another database would be all of it.
CREATE TABLE identity (
    id uuid NOT NULL DEFAULT gen_random_uuid()
);

INSERT INTO identity DEFAULT VALUES;
