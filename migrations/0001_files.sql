-- One row a file. A row exists only while its content does: the content is
-- written, synced and in place before the row is inserted, and the row is
-- deleted before the content is.
CREATE TABLE files (
    -- Made by the service (UUIDv7: in order of creation), also the content's key.
    id           uuid        PRIMARY KEY,

    -- As the client named it; never used as a path.
    name         text        NOT NULL
        CONSTRAINT files_name_length CHECK (octet_length(name) BETWEEN 1 AND 255),

    -- As the client sent it; served back beside nosniff, as an attachment.
    content_type text        NOT NULL
        CONSTRAINT files_content_type_length CHECK (octet_length(content_type) BETWEEN 1 AND 255),

    size         bigint      NOT NULL
        CONSTRAINT files_size_not_negative CHECK (size >= 0),

    sha256       bytea       NOT NULL
        CONSTRAINT files_sha256_length CHECK (octet_length(sha256) = 32),

    created_at   timestamptz NOT NULL DEFAULT now()
);
