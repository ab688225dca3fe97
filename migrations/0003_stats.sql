-- What the audit queue adds up: one row a file that was ever downloaded, so that
-- it grows with files and not with requests. It goes with its file.
CREATE TABLE file_stats (
    file_id            uuid        PRIMARY KEY REFERENCES files ON DELETE CASCADE,
    downloads          bigint      NOT NULL
        CONSTRAINT file_stats_downloads_positive CHECK (downloads > 0),
    last_downloaded_at timestamptz NOT NULL
);
