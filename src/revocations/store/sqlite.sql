-- The last change: its number, and which store this is.
CREATE TABLE revocation_feed (
  epoch TEXT NOT NULL,
  last BIGINT NOT NULL
);

-- One row for each entry or removal (an empty body); `changed` is the number of its last change.
CREATE TABLE revocations (
  id TEXT NOT NULL PRIMARY KEY,
  changed BIGINT NOT NULL,
  ends BIGINT NOT NULL,
  body TEXT NOT NULL
);

CREATE UNIQUE INDEX revocations_by_change ON revocations (changed);

CREATE INDEX revocations_by_end ON revocations (ends);
